"""What each rank runs: pytest on files of this folder. ``mpiexec -n 3 python tests/ranks REPORTS FILE ...``

Its results go to REPORTS/<rank>.xml and what it prints to REPORTS/<rank>.txt: ranks print into each other's lines.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
from mpi4py import MPI


def main(reports: Path, files: list[str]) -> int:
    rank = MPI.COMM_WORLD.Get_rank()
    here = Path(__file__).parent
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={here}", f"--junitxml={reports / str(rank)}.xml"]
    with Path(reports, f"{rank}.txt").open("w") as log, contextlib.redirect_stdout(log):
        return pytest.main([*options, *(str(here / file) for file in files)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
