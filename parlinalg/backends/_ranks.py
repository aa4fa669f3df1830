"""The ranks of an MPI communicator, seen through the collective calls that move rows between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._base import Array

__all__ = ["Ranks", "put", "room_for"]

MOST_BYTES = 2**31 - 1  # that a call can move where MPI counts with int, as it does before version 4
UNLIMITED = 2**63 - 1


class Ranks:
    """A communicator that nobody else uses. Every rank must make the same calls in the same order.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    most_bytes : int, optional
        That one call of MPI moves; None: what this library of MPI can.
    """

    def __init__(self, comm: Any, most_bytes: int | None = None) -> None:
        from mpi4py import MPI  # initialises MPI, so ``import parlinalg`` must not do it

        self.mpi = MPI
        self.comm = comm
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()
        self._most_bytes = most_bytes or (UNLIMITED if MPI.VERSION >= 4 else MOST_BYTES)

    def split(self, color: int) -> Ranks:
        """The ranks that pass the same `color`, in the same order. Collective."""
        return Ranks(self.comm.Split(color, self.rank), self._most_bytes)

    def allgather(self, part: Array, counts: Sequence[int], whole: Array | None = None) -> Array:
        """All parts, one after the other along the first axis: rank i passes ``counts[i]`` rows.

        They are written into `whole`, contiguous, where that has been made before: a rank that has no memory for it
        must find out while the others do not wait for its data.
        """
        if self.size == 1:
            return part
        part = np.ascontiguousarray(part)
        if whole is None:
            whole = np.empty((sum(counts), *part.shape[1:]), part.dtype)
        row = part.dtype.itemsize * prod(part.shape[1:])
        self._gather_bytes(_bytes(part), _bytes(whole), [count * row for count in counts])
        return whole

    def add(self, a: Array) -> None:
        """Replace `a`, contiguous, by the sum of what all ranks pass; of bool, by the or. Integers wrap around."""
        if self.size > 1:
            for piece in _chunks(a.reshape(-1), max(1, self._most_bytes // a.itemsize)):
                self.comm.Allreduce(self.mpi.IN_PLACE, piece, op=self._addition(a))

    def add_scatter(self, parts: Array, counts: Sequence[int]) -> Array:
        """The sum of what all ranks pass, of which rank i gets ``counts[i]`` rows."""
        if self.size == 1:
            return parts
        parts = np.ascontiguousarray(parts)
        own = np.empty((counts[self.rank], *parts.shape[1:]), parts.dtype)
        width = prod(parts.shape[1:])
        lengths = [count * width for count in counts]
        if parts.nbytes <= self._most_bytes:
            self.comm.Reduce_scatter(parts.reshape(-1), own.reshape(-1), lengths, op=self._addition(parts))
        else:
            self._reduce_chunks(parts.reshape(-1), own.reshape(-1), lengths)
        return own

    def _gather_bytes(self, part: NDArray[np.uint8], whole: NDArray[np.uint8], nbytes: Sequence[int]) -> None:
        starts = [0, *accumulate(nbytes)]
        byte = self.mpi.BYTE
        if len(whole) <= self._most_bytes:
            self.comm.Allgatherv([part, len(part), byte], [whole, nbytes, starts[:-1], byte])
            return
        whole[starts[self.rank] : starts[self.rank + 1]] = part
        for root in range(self.size):
            for piece in _chunks(whole[starts[root] : starts[root + 1]], self._most_bytes):
                self.comm.Bcast([piece, len(piece), byte], root)

    def _reduce_chunks(self, parts: Array, own: Array, lengths: Sequence[int]) -> None:
        most = max(1, self._most_bytes // parts.itemsize)
        starts = [0, *accumulate(lengths)]
        for root in range(self.size):
            pieces = _chunks(parts[starts[root] : starts[root + 1]], most)
            targets = _chunks(own, most) if root == self.rank else [None] * len(pieces)
            for piece, target in zip(pieces, targets, strict=True):
                self.comm.Reduce(piece, target, op=self._addition(parts), root=root)

    def _addition(self, a: Array) -> Any:
        return self.mpi.LOR if a.dtype.kind == "b" else self.mpi.SUM


def room_for(out: Array) -> Array:
    """A contiguous array like `out`; itself, if it is one."""
    return out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)


def put(a: Array, out: Array) -> None:
    """Copy, if `a` is not `out` already."""
    if a is not out:
        out[...] = a


def _bytes(a: Array) -> NDArray[np.uint8]:
    return a.reshape(-1).view(np.uint8)


def _chunks(a: Array, most: int) -> list[Array]:
    return [a[first : first + most] for first in range(0, a.size, most)]
