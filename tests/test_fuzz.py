"""The fuzz program runs, finds what is wrong, and says how to see it again."""

from __future__ import annotations

import re
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


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FUZZ / "sums.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def broken(**functions: Any) -> SimpleNamespace:
    """The package, but for these functions."""
    right = {name: getattr(parlinalg, name) for name in ("psum", "matvec", "vecmat", "vecdot")}
    return SimpleNamespace(**right | functions)


def test_the_program_finds_nothing_in_two_seconds() -> None:
    finished = run("--seconds", "2", "--seed", "1")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    first, last = finished.stdout.splitlines()
    found = re.fullmatch(r"(\d+) cases, (\d+) elements, 0 failures", last)
    assert first == "seed 1"
    assert found
    assert int(found[1]) > 10
    assert int(found[2]) > 1000


def test_one_case_alone() -> None:
    assert run("--seed", "1", "--case", "3").stdout == f"{sums.try_case(1, 3)} elements, 0 failures\n"


def test_a_failure_is_status_1_and_says_how_to_make_it_again() -> None:
    program = f"import sys; sys.path[:0] = [{str(FUZZ)!r}]; import sums; sums.parlinalg.psum = None; sums.search(60, 1)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert re.search(
        r"^failed: [a-z ]+; again: python tests/fuzz/sums.py --seed 1 --case \d+$", finished.stdout, re.MULTILINE
    )
    assert "0 failures" not in finished.stdout


def test_it_finds_sums_of_numpy() -> None:
    def naive(a: Any, axis: Any = None, **options: Any) -> Any:
        return np.sum(a, axis)

    with pytest.raises(AssertionError, match="expected"):
        sums.search(60, 1, broken(psum=naive))


def test_it_finds_a_rare_last_bit() -> None:
    def nearly(a: Any, axis: Any = None, **options: Any) -> Any:
        total = parlinalg.psum(a, axis, **options)
        return np.nextafter(total, np.inf) if np.ndim(total) == 0 and a.size % 32 == 31 and a.dtype == "f8" else total

    with pytest.raises(AssertionError, match="expected"):
        sums.search(60, 1, broken(psum=nearly))


@pytest.mark.parametrize("name", ["matvec", "vecmat", "vecdot"])
def test_it_finds_products_of_numpy(name: str) -> None:
    def naive(one: Any, other: Any, **options: Any) -> Any:
        return getattr(np, name)(one, other)

    with pytest.raises(AssertionError, match=f"{name}.*expected"):
        sums.search(60, 1, broken(**{name: naive}))
