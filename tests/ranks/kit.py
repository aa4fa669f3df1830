"""The kit, on every rank: with blocks of rows, and on every grid that so many ranks can be."""

from __future__ import annotations

from mpi4py import MPI as mpi4py_MPI

from parlinalg.backends import MPI
from parlinalg.testing import BackendSuite

SIZE = mpi4py_MPI.COMM_WORLD.Get_size()


class TestRows(BackendSuite):
    backend = "mpi"


class TestColumns(BackendSuite):
    """All ranks have columns: the grid that differs most from rows."""

    backend = MPI(grid=(1, SIZE))
    workers = (SIZE,)


if SIZE % 2 == 0 and SIZE > 2:

    class TestGrid(BackendSuite):
        backend = MPI(grid=(SIZE // 2, 2))
        workers = (SIZE,)
