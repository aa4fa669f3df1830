"""The fuzz program runs, and finds what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import parlinalg

FUZZ = Path(__file__).parent / "fuzz"
sys.path.insert(0, str(FUZZ))

import sums  # noqa: E402


def test_the_program_finds_nothing_in_two_seconds() -> None:
    command = [sys.executable, str(FUZZ / "sums.py"), "--seconds", "2", "--seed", "1"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "0 failures (seed 1)" in finished.stdout
    assert int(finished.stdout.split()[0]) > 10


def test_it_finds_sums_of_numpy() -> None:
    def naive(a: Any, axis: Any, **options: Any) -> Any:
        return np.sum(a, axis)

    wrong = SimpleNamespace(psum=naive, matvec=parlinalg.matvec, vecmat=parlinalg.vecmat)
    with pytest.raises(AssertionError, match="expected"):
        sums.search(60, 1, wrong)


def test_it_finds_products_of_numpy() -> None:
    def naive(A: Any, x: Any, **options: Any) -> Any:
        return np.matvec(A, x)

    wrong = SimpleNamespace(psum=parlinalg.psum, matvec=naive, vecmat=parlinalg.vecmat)
    with pytest.raises(AssertionError, match="expected"):
        sums.search(60, 1, wrong)
