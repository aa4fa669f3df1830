"""Builds that differ: a compiler without OpenMP, and a build that is told to do without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("ext", "parlinalg", "setup.py", "pyproject.toml")

pytestmark = pytest.mark.timeout(300)  # a build of all kernels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is built, without what has been built."""
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "_kernels.c", "_small.c")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=ignore)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


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
    finished = build(tree, PARLINALG_NO_OPENMP="1")
    assert finished.returncode == 0, finished.stderr
    program = """
import numpy as np, parlinalg
print(parlinalg.backends()["openmp"].why_not)
print(parlinalg.explain(np.eye(2), [1, 2]))
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
    assert lines[2] == "[ 8 26] 1.0"
    assert lines[3].startswith("backend 'openmp' cannot run here: parlinalg was built with PARLINALG_NO_OPENMP=1.")
