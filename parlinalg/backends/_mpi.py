"""Ranks of an MPI job, each of which makes the same call."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from types import TracebackType
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendUnavailable
from ..split import blocks
from ..workers import check_threads, default_workers, ranks_of_job
from ._base import Array, Resident
from ._forked import ForkGuard
from ._grid import Block, Grid, PlacedBlock
from ._ranks import Ranks, put, room_for
from ._rounds import Rounds
from ._separate import SeparateMemory, Task, Team

__all__ = ["MPI"]

FORKED = ForkGuard("backend 'mpi' cannot run in a process that was forked from a rank")


class Piece(NamedTuple):
    """What this rank has of a scattered array."""

    rows: range
    array: Array


class MPI(SeparateMemory):
    """The ranks of an MPI communicator; every rank makes the same calls in the same order.

    Each rank passes the whole operands, computes its rows, and gets the whole result. Of a memory map, or the path that
    is given to `operator`, it reads its own rows only. `operator.from_local` takes rows that are distributed already.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        Duplicated once, so that its messages meet no others. None: ``MPI.COMM_WORLD``.
    threads : int, optional
        That each rank computes with. None: the processors of its node, divided by the ranks there.
    grid : (int, int), optional
        Rows and columns of a grid of ranks over which matrices are dealt out in both directions. None: blocks of rows.
    check : bool
        Whether ranks compare their calls before data move, at the cost of one small Allreduce. If not, ranks whose
        arguments differ may hang, or return anything.
    deadline : float, optional
        Seconds that a call waits for ranks which do not make it, before it raises `TimeoutError`. None: for ever.

    Raises
    ------
    TypeError, ValueError
        If `comm` is not an intracommunicator, or `grid` has not as many places as it has ranks.

    Notes
    -----
    MPI is initialised when the first instance is made, which every rank must do. Calls are collective, so several
    threads may make them only through `submit`. An exception that ends a rank aborts the job, as ``python -m mpi4py``
    does.
    """

    name = "mpi"
    collective = True
    workers = ranks_of_job()

    def __init__(
        self,
        comm: Any = None,
        threads: SupportsIndex | None = None,
        *,
        grid: tuple[int, int] | None = None,
        check: bool = True,
        deadline: float | None = None,
    ) -> None:
        FORKED.enter()
        self.ranks = Ranks(duplicate(comm))
        self.rank = self.ranks.rank
        self.rounds = Rounds(self.ranks)
        self.capacity = self.workers = self.ranks.size
        try:
            self.threads = default_workers() if threads is None else check_threads("MPI", threads)
            columns = _columns(grid, self.ranks.size)
            seconds = _seconds(deadline)
            self.rounds.agree(f"MPI(grid={grid}, check={check}, deadline={deadline})")
        except Exception as error:
            self.rounds.tell(error)
            raise
        self.rounds.deadline = seconds  # only now: with and without one, rounds are different calls of MPI
        self._check = check
        self._grid = Grid.of(self.ranks, columns, self.rounds)
        self._team = RankTeam(self.ranks, self.rounds)
        if self.ranks.size > 1:
            abort_on_exceptions()

    @property
    def team(self) -> Team[Any]:
        return self._team

    @classmethod
    def why_not(cls) -> str | None:
        if find_spec("mpi4py") is None:
            return 'the package mpi4py is not installed. Install it: pip install "parlinalg[mpi]"'
        return None

    @classmethod
    def version(cls) -> str:
        return f"mpi4py {version('mpi4py')}"

    def agree(self, call: str) -> None:
        if self._check and self.ranks.size > 1:
            with self.rounds.turn():
                self.rounds.agree(call)

    def tell(self, error: Exception) -> None:
        self.rounds.tell(error)

    def place(self, A: Array, workers: int) -> Resident:
        row_counts, column_counts = (_counts(length, workers, self.ranks.size) for length in A.shape[-2:])
        return PlacedBlock(Block.of(self._grid, A, row_counts, column_counts, self.threads))

    def place_local(self, A: Array) -> Resident:
        """Take the rows `A` of this rank, of a matrix whose other rows the other ranks have. Collective."""
        if self._grid.row.size > 1:
            raise BackendUnavailable("mpi: from_local takes blocks of whole rows, which a grid of ranks cannot use")
        row_counts = self.counts_of(len(A))
        square = sum(row_counts) == A.shape[1]
        column_counts = row_counts if square else _counts(A.shape[1], self.ranks.size, self.ranks.size)
        return PlacedBlock(Block(self._grid, A, row_counts, column_counts, self.threads))

    def counts_of(self, rows: int) -> tuple[int, ...]:
        """The `rows` that each rank passes. Collective."""
        with self.rounds.turn():
            return tuple(self.ranks.allgather(np.array([rows]), [1] * self.ranks.size).tolist())

    def add_up(self, call: str, task: Callable[[], Array]) -> Array:
        """The sum of the arrays that the tasks of all ranks return. Collective.

        Parameters
        ----------
        call : str
            As in `agree`.
        task : function
            Without arguments.

        Returns
        -------
        ndarray
        """
        addend = np.empty(0)

        def compute() -> None:
            nonlocal addend
            addend = task()

        with self.rounds.turn():
            self.rounds.run(compute, call if self._check else "")
            self.ranks.add(addend)
        return addend


class RankTeam(Team[Piece]):
    """The ranks as a team: a piece is a view of what every rank has, so scattering sends nothing."""

    def __init__(self, ranks: Ranks, rounds: Rounds) -> None:
        self._ranks = ranks
        self._rounds = rounds

    def scatter(self, a: Array, ranges: Sequence[range]) -> Piece:
        rows = ranges[self._ranks.rank] if self._ranks.rank < len(ranges) else range(0)
        return Piece(rows, a[rows.start : rows.stop])

    def allgather(self, task: Task, pieces: Piece, args: Sequence[Array], out: Array, ranges: Sequence[range]) -> int:
        counts = [len(one) for one in ranges] + [0] * (self._ranks.size - len(ranges))
        part = np.empty((counts[self._ranks.rank], *out.shape[1:]), out.dtype)
        whole = room_for(out)
        with self._rounds.turn():
            flags = self._rounds.run(lambda: _run(task, pieces, args, part))
            put(self._ranks.allgather(part, counts, whole), out)
        return flags

    def allreduce(
        self, task: Task, pieces: Piece, args: Sequence[Array], workers: int, shape: tuple[int, ...]
    ) -> NDArray[np.int64]:
        part = np.zeros((1, *shape), np.int64)
        with self._rounds.turn():
            self._rounds.run(lambda: _run(task, pieces, args, part))
            self._ranks.add(part)
        states: NDArray[np.int64] = part[0]
        return states

    def free(self, pieces: Piece) -> None:
        """Nothing: a piece is a view."""

    def close(self) -> None:
        """Nothing: the ranks are the user's."""


def _run(task: Task, piece: Piece, args: Sequence[Array], part: Array) -> int | None:
    return task(piece.array, piece.rows, *args, out=part) if piece.rows else None


def duplicate(comm: Any) -> Any:
    """A duplicate of `comm` for parlinalg alone; the same one each time, as MPI libraries have few of them."""
    from mpi4py import MPI  # initialises MPI

    if comm is None:
        comm = MPI.COMM_WORLD
    if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
        raise TypeError(f"MPI: comm is {comm!r}; it must be an mpi4py.MPI.Intracomm, such as MPI.COMM_WORLD, or None")
    key = _key_of_duplicate()
    known = comm.Get_attr(key)
    if known is None:
        known = comm.Dup()
        comm.Set_attr(key, known)
    return known


@cache
def _key_of_duplicate() -> int:
    from mpi4py import MPI

    key: int = MPI.Comm.Create_keyval(delete_fn=lambda comm, key, copy: copy.Free())
    return key


@cache
def abort_on_exceptions() -> None:
    """Let an exception that ends this rank end the job too, since the other ranks would wait for it for ever."""
    from mpi4py.run import set_abort_status

    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        set_abort_status(error)

    sys.excepthook = hook


def _counts(length: int, workers: int, size: int) -> list[int]:
    return [len(block) for block in blocks(length, workers)] + [0] * (size - workers)


def _columns(grid: tuple[int, int] | None, size: int) -> int:
    """How many columns the grid has."""
    if grid is None:
        return 1
    try:
        p, q = map(operator.index, grid)
    except (TypeError, ValueError):
        raise TypeError(f"MPI: grid is {grid!r}; it must be a pair of ints, or None") from None
    if p < 1 or q < 1 or p * q != size:
        raise ValueError(f"MPI: grid is {grid!r}; the communicator has {size} ranks, and so many places it must have")
    return q


def _seconds(deadline: Any) -> float | None:
    if deadline is None:
        return None
    if isinstance(deadline, bool) or not isinstance(deadline, (int, float)) or not deadline > 0:
        raise ValueError(f"MPI: deadline is {deadline!r}; it must be a number of seconds above 0, or None")
    return float(deadline)
