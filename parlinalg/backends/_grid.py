"""A matrix over a grid of ranks, and its products with vectors that every rank has, or has a part of.

Rank ``r = i*q + j`` of a grid of p x q ranks has the rows of the ranks i*q to i*q + q - 1, and of these the columns of
the ranks j, q + j, 2*q + j, ... So the parts of a vector that a rank needs lie on the ranks of its column of the grid,
and those of the result on the ranks of its row: vectors have one distribution on all grids, and need not be moved to
another. A grid of p x 1 has blocks of whole rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from .. import _kernels
from ..exact import PRODUCT_DIGITS, report
from ..products import product_states, write_products
from ._base import Array, DistributedResident, Resident
from ._ranks import Ranks, put, room_for
from ._rounds import Rounds
from ._separate import from_front, multiply_matrix, to_front

__all__ = ["Block", "Grid", "PlacedBlock"]


class Grid(NamedTuple):
    """The ranks of a backend, and how they see each other."""

    ranks: Ranks  # all p*q of them
    row: Ranks  # those that have the same rows of a matrix
    column: Ranks  # those that have the same columns
    rounds: Rounds

    @classmethod
    def of(cls, ranks: Ranks, q: int, rounds: Rounds) -> Grid:
        """One of ``ranks.size // q`` x q ranks. Collective, unless q is 1."""
        if q == 1:
            return cls(ranks, Ranks(ranks.mpi.COMM_SELF), ranks, rounds)
        i, j = divmod(ranks.rank, q)
        return cls(ranks, ranks.split(i), ranks.split(j), rounds)

    def rows(self, counts: Sequence[int]) -> list[range]:
        """Of rows that are dealt out by `counts`, those of this rank's row of the grid: one range per rank."""
        q = self.row.size
        first = self.ranks.rank // q * q
        return _ranges(counts)[first : first + q]

    def columns(self, counts: Sequence[int]) -> list[range]:
        """The same for columns."""
        q = self.row.size
        return _ranges(counts)[self.ranks.rank % q :: q]


class Block:
    """What one rank has of a matrix, and the parts of products that belong to it.

    Parameters
    ----------
    grid : Grid
    A : shape (..., rows of this rank, columns of this rank)
    row_counts, column_counts : sequence of int
        How the rows and the columns of the whole matrix are dealt out to the ranks.
    threads : int
    """

    def __init__(
        self, grid: Grid, A: Array, row_counts: Sequence[int], column_counts: Sequence[int], threads: int
    ) -> None:
        self.grid = grid
        self.A = A
        self.row_counts = row_counts
        self.column_counts = column_counts
        self.rows = grid.rows(row_counts)
        self.columns = grid.columns(column_counts)
        self._threads = threads

    @classmethod
    def of(cls, grid: Grid, A: Array, row_counts: Sequence[int], column_counts: Sequence[int], threads: int) -> Block:
        """That of a matrix which every rank has; a view of it, if the grid has one column."""
        rows = grid.rows(row_counts)
        own = select(A[..., rows[0].start : rows[-1].stop, :], grid.columns(column_counts))
        return cls(grid, own, row_counts, column_counts, threads)

    def matvec(self, x: Array, shape: tuple[int, ...], dtype: np.dtype, exact: bool) -> tuple[Array, int]:
        """This rank's rows of ``A @ x``, and the flags of all ranks; `x` is what its columns are multiplied by.

        Rows come first, and batches have the `shape` that follows.
        """
        return self._product(self.A, x, shape, dtype, exact, self.grid.row, self.rows)

    def vecmat(self, x: Array, dtype: np.dtype, exact: bool) -> tuple[Array, int]:
        """This rank's columns of ``conj(x) @ A``; `x` is what its rows are multiplied by."""
        return self._product(self.A.T, x.conj(), (), dtype, exact, self.grid.column, self.columns)

    def matmat(self, X: Array, dtype: np.dtype) -> tuple[Array, int]:
        """This rank's rows of ``A @ X``."""
        parts = np.empty((self.A.shape[0], X.shape[1]), _accumulator(dtype, self.grid.row))
        flags = self.grid.rounds.run(partial(multiply_matrix, self.A, range(0), X, out=parts, threads=self._threads))
        return _narrow(self.grid.row.add_scatter(parts, _lengths(self.rows)), dtype), flags

    def _product(
        self,
        A: Array,
        x: Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        exact: bool,
        sharers: Ranks,  # ranks that have addends of the same elements of the result
        ranges: Sequence[range],  # which of these elements belong to each of them
    ) -> tuple[Array, int]:
        if exact and sharers.size > 1:
            return self._rounded_product(A, x, shape, dtype, sharers, ranges)
        parts = np.empty((A.shape[-2], *shape), _accumulator(dtype, sharers))
        multiply = write_products if exact else _kernels.matvec
        flags = self.grid.rounds.run(partial(multiply, A, x, from_front(parts, -1), self._threads))
        return _narrow(sharers.add_scatter(parts, _lengths(ranges)), dtype), flags

    def _rounded_product(
        self, A: Array, x: Array, shape: tuple[int, ...], dtype: np.dtype, sharers: Ranks, ranges: Sequence[range]
    ) -> tuple[Array, int]:
        """The sharers add up states, so that each element is rounded once."""
        halves = 2 if dtype.kind == "c" else 1
        states = np.empty((A.shape[-2], *shape, halves, PRODUCT_DIGITS), np.int64)
        self.grid.rounds.run(partial(_write_states, A, x, dtype, states, self._threads))
        own = sharers.add_scatter(states, _lengths(ranges))
        rounded = np.empty(own.shape[:-1], dtype.type(0).real.dtype)
        flags = self.grid.rounds.run(lambda: _kernels.round_states(own, rounded))
        return rounded.view(dtype)[..., 0], flags


class PlacedBlock(Resident):
    """A matrix of which each rank has a block; every rank has the operands, and gets the whole result."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self.distributed = DistributedBlock(block)

    def matvec(self, x: Array, out: Array, *, exact: bool = False) -> None:
        block, target = self._block, to_front(out, -1)
        own = select(x, block.columns)
        self._gather(lambda: block.matvec(own, target.shape[1:], out.dtype, exact), target, block.row_counts)

    def vecmat(self, x: Array, out: Array, *, exact: bool = False) -> None:
        block = self._block
        own = x[block.rows[0].start : block.rows[-1].stop]
        self._gather(lambda: block.vecmat(own, out.dtype, exact), out, block.column_counts)

    def matmat(self, X: Array, out: Array, *, exact: bool = False) -> None:
        block = self._block
        if exact:
            super().matmat(X, out, exact=True)
        else:
            own = select(X.T, block.columns).T
            self._gather(lambda: block.matmat(own, out.dtype), out, block.row_counts)

    def _gather(self, product: Callable[[], tuple[Array, int]], out: Array, counts: Sequence[int]) -> None:
        grid = self._block.grid
        with grid.rounds.turn():
            whole = room_for(out)
            part, flags = product()
            put(grid.ranks.allgather(part, counts, whole), out)
        report(flags)


class DistributedBlock(DistributedResident):
    """The same matrix; of the operands and the results each rank has its own part, as the counts deal them out."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self.row_counts = tuple(block.row_counts)
        self.column_counts = tuple(block.column_counts)
        self.rank = block.grid.ranks.rank

    def matvec(self, x: Array, out: Array, *, exact: bool = False) -> None:
        block = self._block
        with block.grid.rounds.turn():
            whole = block.grid.column.allgather(x, _lengths(block.columns))
            out[...], flags = block.matvec(whole, (), out.dtype, exact)
        report(flags)

    def vecmat(self, x: Array, out: Array, *, exact: bool = False) -> None:
        block = self._block
        with block.grid.rounds.turn():
            whole = block.grid.row.allgather(x, _lengths(block.rows))
            out[...], flags = block.vecmat(whole, out.dtype, exact)
        report(flags)

    def matmat(self, X: Array, out: Array, *, exact: bool = False) -> None:
        if exact:
            super().matmat(X, out, exact=True)
            return
        block = self._block
        with block.grid.rounds.turn():
            whole = block.grid.column.allgather(X, _lengths(block.columns))
            out[...], flags = block.matmat(whole, out.dtype)
        report(flags)


def select(a: Array, ranges: Sequence[range]) -> Array:
    """These ranges of the last axis; a view, if they are one."""
    if len(ranges) == 1:
        return a[..., ranges[0].start : ranges[0].stop]
    if [one.start for one in ranges[1:]] == [one.stop for one in ranges[:-1]]:
        return a[..., ranges[0].start : ranges[-1].stop]
    return np.concatenate([a[..., one.start : one.stop] for one in ranges], axis=-1)


def _write_states(A: Array, x: Array, dtype: np.dtype, states: Array, threads: int) -> None:
    batch = states.shape[1:-2]
    matrices = np.broadcast_to(A, (*batch, *A.shape[-2:]))
    vectors = np.broadcast_to(x, (*batch, x.shape[-1]))
    for index in np.ndindex(batch):
        states[(slice(None), *index)] = product_states(matrices[index], vectors[index], dtype, threads)


def _accumulator(dtype: np.dtype, sharers: Ranks) -> np.dtype:
    return np.dtype(np.float32) if dtype == np.float16 and sharers.size > 1 else dtype


def _narrow(a: Array, dtype: np.dtype) -> Array:
    with np.errstate(over="ignore"):
        return a.astype(dtype, copy=False)


def _ranges(counts: Sequence[int]) -> list[range]:
    return [range(end - count, end) for end, count in zip(accumulate(counts), counts, strict=True)]


def _lengths(ranges: Sequence[range]) -> list[int]:
    return [len(one) for one in ranges]
