"""The guard against tests that are skipped unseen can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import skips

UNAVAILABLE = "backend 'openmp' cannot run here: it was built without"
TESTS = f"""
import pytest

def test_passes(): pass

@pytest.mark.parametrize("n", [1, 2])
def test_half(n):
    if n == 1: pytest.skip("one of two")

@pytest.mark.skipif(ONE, reason="never here")
def test_nowhere(): pass

@pytest.mark.parametrize("n", [1, 2])
def test_openmp(n):
    if TWO and n == 2: pytest.skip({UNAVAILABLE!r})
"""


def run(folder: Path, required: str, one: bool, two: bool) -> tuple[int, str]:
    path = folder / "test_it.py"
    path.write_text(TESTS.replace("ONE", str(one)).replace("TWO", str(two)))
    environment = os.environ | {"PARLINALG_REQUIRE": required, "PYTHONPATH": str(Path(skips.__file__).parent)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "skips",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        str(path),
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("required", "one", "two", "code", "line"),
    [
        ("numpy openmp", False, False, 0, "5 passed, 1 skipped"),
        ("numpy openmp", False, True, 1, f"{UNAVAILABLE}; PARLINALG_REQUIRE says that it must"),
        ("numpy", False, True, 0, "4 passed, 2 skipped"),
        ("numpy", True, False, 1, "FAILED test_it.py::test_nowhere - skipped in all its variants"),
        ("", True, True, 0, "3 passed, 3 skipped"),
    ],
    ids=["all run", "required one skipped", "other one skipped", "skipped everywhere", "nothing required"],
)
def test_guard(tmp_path: Path, required: str, one: bool, two: bool, code: int, line: str) -> None:
    returned, output = run(tmp_path, required, one, two)
    assert returned == code, output
    assert line in output


def test_every_exception_has_a_reason() -> None:
    assert all(reason.strip() for reason in skips.MAY_BE_SKIPPED.values())
