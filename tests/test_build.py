"""Builds of what a release contains, that differ: a compiler without OpenMP, and a build that is told to do without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("ext", "parlinalg", "setup.py", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.timeout(300)  # a build of all kernels


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a release contains; nothing that has been built is in it."""
    checkout, target = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("sdist")
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "_kernels.c", "_small.c")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=ignore)
        else:
            shutil.copy(source, checkout / name)
    command = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(target)]
    subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    (archive,) = target.iterdir()
    return archive


@pytest.fixture
def tree(sdist: Path, tmp_path: Path) -> Path:
    """It, unpacked."""
    shutil.unpack_archive(sdist, tmp_path)
    (tree,) = tmp_path.iterdir()
    for generated in ("_kernels.c", "_small.c"):
        (tree / "ext" / generated).unlink()
    return tree


def without_vectors(tree: Path) -> None:
    """As on a processor that is no x86: one instruction set, which takes a third of the time."""
    edit(tree / "setup.py", 'X86 = platform.machine().lower() in ("x86_64", "amd64")', "X86 = False")


def edit(source: Path, old: str, new: str) -> None:
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))


def build(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=tree,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_compiler_without_openmp_stops_the_build(tree: Path) -> None:
    compiler = tree / "plain-cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fopenmp*) echo unknown option >&2; exit 1;; esac\nexec cc "$@"\n')
    compiler.chmod(0o755)
    finished = build(tree, CC=str(compiler))
    assert finished.returncode != 0
    assert "cannot build OpenMP programs" in finished.stderr
    assert "PARLINALG_NO_OPENMP=1" in finished.stderr
    assert not list(tree.glob("parlinalg/*.so"))


def test_a_build_without_openmp_says_so_and_works(tree: Path) -> None:
    without_vectors(tree)
    finished = build(tree, PARLINALG_NO_OPENMP="1")
    assert finished.returncode == 0, finished.stderr
    program = """
import numpy as np, parlinalg
print(parlinalg.backends()["openmp"].why_not)
print(str(parlinalg.explain(np.eye(2), [1, 2])).splitlines()[0])
print(parlinalg._kernels.available())
print(parlinalg.matvec(np.arange(6).reshape(2, 3), [1, 2, 3]), parlinalg.psum([0.1] * 10))
try:
    parlinalg.psum([1.0], backend="openmp")
except parlinalg.BackendUnavailable as error:
    print(error)
"""
    lines = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert "built with PARLINALG_NO_OPENMP=1" in lines[0]
    assert lines[1].startswith("numpy, 1 worker: backend 'openmp' cannot run here")
    assert lines[2:4] == ["['baseline']", "[ 8 26] 1.0"]
    assert lines[4].startswith("backend 'openmp' cannot run here: parlinalg was built with PARLINALG_NO_OPENMP=1.")


CHECK = """
import math, sys
import numpy as np, parlinalg
sys.path.insert(0, sys.argv[1])
from exact_inputs import GENERATORS
assert np.float64(5e-324) * np.float64(1.0) != 0, "subnormal numbers are zero in this process"
rng = np.random.default_rng(0)
for name in ("normal", "spread 40", "ties", "subnormal", "large integers", "one outlier"):
    a = GENERATORS[name](rng, 5000)
    square = a.reshape(50, 100)
    for workers in (1, 2):
        assert parlinalg.psum(a, workers=workers) == math.fsum(a), name
        sums = parlinalg.psum(square, 0, workers=workers)
        assert sums.tolist() == [math.fsum(column) + 0.0 for column in square.T.tolist()], name
        y = parlinalg.matvec(square, np.ones(100), exact=True, workers=workers)
        assert y.tolist() == [math.fsum(row) + 0.0 for row in square.tolist()], name
print("exact")
"""


def check(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHECK, str(ROOT / "tests")],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_fast_math_in_the_users_flags_changes_nothing(tree: Path) -> None:
    fast = "-O2 -Ofast -ffast-math -funsafe-math-optimizations"
    finished = build(tree, CFLAGS=fast, LDFLAGS=fast)
    assert finished.returncode == 0, finished.stderr
    checked = check(tree)
    assert (checked.stdout, checked.stderr) == ("exact\n", "")


def test_arithmetic_that_is_not_that_of_ieee_754_is_noticed(tree: Path) -> None:
    without_vectors(tree)
    edit(tree / "ext" / "folds.c", "r = r - u;", "r = (r + S[k]) - t;")  # as if reordered
    finished = build(tree)
    assert finished.returncode == 0, finished.stderr
    checked = check(tree)
    assert checked.stdout == "exact\n", checked.stderr
    assert (
        "RuntimeWarning: parlinalg: floating-point operations of this build are not those of IEEE 754" in checked.stderr
    )
