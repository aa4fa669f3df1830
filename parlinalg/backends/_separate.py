"""Workers with memory of their own: the one algorithm of every backend whose workers do not see the caller's arrays."""

from __future__ import annotations

import os
import platform
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from ..errors import BackendError
from ..exact import PRODUCT_DIGITS, digits, report, round_states
from ..products import product_states, write_products
from ..split import blocks, split_axis
from ._base import Array, Backend, Resident

__all__ = ["Failure", "RemoteTraceback", "SeparateMemory", "Task", "Team", "attempt", "raise_first"]

Task = Callable[..., int | None]  # a function of the section "tasks" below, or a partial of one
P = TypeVar("P")  # what a team knows a scattered array by

BLAS_DTYPES = "fdFD"


class Team(ABC, Generic[P]):
    """Workers with memory of their own, seen through collective calls, which several threads may make.

    Worker i is the one that the i-th range belongs to; there may be more workers than ranges. A task is called as
    ``task(piece, rows, *args, out=part)``: `piece` is what `scatter` gave the worker, `rows` the range of it. It
    writes all of `out`, which holds anything before, and returns flags of what it met, or None.
    """

    @abstractmethod
    def scatter(self, a: Array, ranges: Sequence[range]) -> P:
        """Give worker i ``a[ranges[i]]``, of any strides and byte order. A memory map is mapped, not copied."""

    @abstractmethod
    def allgather(self, task: Task, pieces: P, args: Sequence[Array], out: Array, ranges: Sequence[range]) -> int:
        """Let worker i write ``out[ranges[i]]``; every worker gets all of `args`. Returns the or of their flags.

        Raises
        ------
        BackendError
            If a worker died, or its task raised anything but a MemoryError; of all workers then.
        """

    def allreduce(
        self, task: Task, pieces: P, args: Sequence[Array], workers: int, shape: tuple[int, ...]
    ) -> NDArray[np.int64]:
        """The sum of what `workers` workers each write into an `out` of shape ``(1, *shape)``, modulo 2**64."""
        parts = np.empty((workers, *shape), np.int64)
        self.allgather(task, pieces, args, parts, blocks(workers, workers))
        states: NDArray[np.int64] = np.add.reduce(parts, axis=0)
        return states

    @abstractmethod
    def free(self, pieces: P) -> None:
        """Free what `scatter` placed. Called by any thread, and by the garbage collector, at any time."""

    @abstractmethod
    def close(self) -> None:
        """End the workers. May be called again; the next collective call starts new ones."""


class SeparateMemory(Backend):
    """A backend that is a `Team`: a subclass only says what its team is.

    The rows of a matrix are split into contiguous blocks, one per worker. An array to be summed is split along one
    axis, so what is not a memory map is copied to the workers first.
    """

    exact_products = True
    threads: int = 1  # that each worker computes with

    @property
    @abstractmethod
    def team(self) -> Team[Any]:
        """The workers of this instance; always the same object."""

    def place(self, A: Array, workers: int) -> Resident:
        return ScatteredRows(self.team, A, workers, self.threads)

    def sum_states(self, a: Array, kept: int, workers: int) -> NDArray[np.int64]:
        if a.ndim == 0:
            return _kernels.sum_states(a, kept, 1)
        axis = split_axis(a.shape, workers, a.strides, kept)
        ranges = blocks(a.shape[axis], workers)
        shape = (*a.shape[:kept], digits(a.dtype))
        pieces = self.team.scatter(to_front(a, axis), ranges)
        try:
            if axis < kept:
                states = np.empty(shape, np.int64)
                task = partial(states_of_rows, axis=axis, kept=kept, threads=self.threads)
                self.team.allgather(task, pieces, (), to_front(states, axis), ranges)
                return states
            task = partial(partial_states, axis=axis, kept=kept, threads=self.threads)
            states = self.team.allreduce(task, pieces, (), workers, shape)
        finally:
            self.team.free(pieces)
        _kernels.normalise(states)
        return states

    def close(self) -> None:
        super().close()
        self.team.close()


class ScatteredRows(Resident):
    """A matrix of which each worker has a block of rows. It does not need the workers that it was placed on."""

    def __init__(self, team: Team[Any], A: Array, workers: int, threads: int) -> None:
        self._team = team
        self._threads = threads
        self._products = {task: partial(task, threads=threads) for task in PRODUCTS}
        self._each = blocks(workers, workers)
        self._rows = blocks(A.shape[-2], workers)
        self._pieces = team.scatter(to_front(A, -2), self._rows)
        self._opened = [True]  # of which one thread takes the only element

    def matvec(self, x: Array, out: Array, *, exact: bool = False) -> None:
        self._gather(multiply_rows_exactly if exact else multiply_rows, x, to_front(out, -1), self._rows)

    def vecmat(self, x: Array, out: Array, *, exact: bool = False) -> None:
        if exact:
            self._vecmat_exactly(x, out)
            return
        # In the order of the workers, so that the result does not depend on who is first.
        accumulated = np.dtype(np.float32) if out.dtype == np.float16 else out.dtype
        parts = np.empty((len(self._each), *out.shape), accumulated)
        self._gather(partial_vecmat, x, parts, self._each)
        out[...] = np.add.reduce(parts, axis=0, dtype=accumulated)

    def matmat(self, X: Array, out: Array, *, exact: bool = False) -> None:
        if exact:
            super().matmat(X, out, exact=True)
        else:
            self._gather(multiply_matrix, X, out, self._rows)

    def close(self) -> None:
        try:
            self._opened.pop()
        except IndexError:  # closed before
            return
        self._team.free(self._pieces)

    def _gather(self, task: Task, x: Array, out: Array, ranges: Sequence[range]) -> None:
        report(self._team.allgather(self._products[task], self._pieces, (x,), out, ranges))

    def _vecmat_exactly(self, x: Array, out: Array) -> None:
        task = partial(partial_vecmat_states, dtype=out.dtype, threads=self._threads)
        parts = 2 if out.dtype.kind == "c" else 1
        shape = (*out.shape, parts, PRODUCT_DIGITS)
        states = self._team.allreduce(task, self._pieces, (x,), len(self._each), shape)
        for part, target in enumerate((out.real, out.imag)[:parts]):
            target[...] = round_states(states[:, part], target.dtype)


def to_front(a: Array, axis: int) -> Array:
    """``numpy.moveaxis(a, axis, 0)`` in a tenth of its time, which counts in small calls."""
    axis %= a.ndim
    return a.transpose(axis, *range(axis), *range(axis + 1, a.ndim))


def from_front(a: Array, axis: int) -> Array:
    """``numpy.moveaxis(a, 0, axis)``, the inverse."""
    axis %= a.ndim
    return a.transpose(*range(1, axis + 1), 0, *range(axis + 1, a.ndim))


# Tasks: what workers run. Pieces have the axis that was split first.


def multiply_rows(A: Array, rows: range, x: Array, *, out: Array, threads: int) -> None:
    """Rows of ``A @ x``, for batches too."""
    _kernels.matvec(from_front(A, -2), x, from_front(out, -1), threads)


def multiply_rows_exactly(A: Array, rows: range, x: Array, *, out: Array, threads: int) -> int:
    """The same, each element rounded once."""
    return write_products(from_front(A, -2), x, from_front(out, -1), threads)


def multiply_matrix(A: Array, rows: range, X: Array, *, out: Array, threads: int) -> None:
    """Rows of ``A @ X``."""
    if A.dtype == out.dtype and out.dtype.char in BLAS_DTYPES:
        np.matmul(A, X, out=out)
        return
    for column in range(X.shape[1]):
        _kernels.matvec(A, X[:, column], out[:, column], threads)


def partial_vecmat(A: Array, rows: range, x: Array, *, out: Array, threads: int) -> None:
    """This block's addend of ``conj(x) @ A``."""
    _kernels.matvec(A.T, x[rows.start : rows.stop].conj(), out[0], threads)


def partial_vecmat_states(A: Array, rows: range, x: Array, *, out: Array, dtype: np.dtype, threads: int) -> None:
    """This block's addend of the exact ``conj(x) @ A``, as states."""
    out[0] = product_states(A.T, x[rows.start : rows.stop].conj(), dtype, threads)


PRODUCTS: tuple[Task, ...] = (multiply_rows, multiply_rows_exactly, multiply_matrix, partial_vecmat)


def states_of_rows(a: Array, rows: range, *, out: Array, axis: int, kept: int, threads: int) -> None:
    """The states of this block where `axis` is kept."""
    out[...] = to_front(_kernels.sum_states(from_front(a, axis), kept, threads), axis)


def partial_states(a: Array, rows: range, *, out: Array, axis: int, kept: int, threads: int) -> None:
    """The addends of all states where `axis` is summed over."""
    out[0] = _kernels.sum_states(from_front(a, axis), kept, threads)


# Errors as data: an exception is caught where it happens, so that the other workers end their part as usual.


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of a task, as text, so that nothing of it is run where it arrives."""

    worker: str
    kind: str
    message: str
    traceback: str


class RemoteTraceback(Exception):
    """The ``__cause__`` of an error that a worker reported: its text is the traceback there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def attempt(worker: int, run: Callable[[], int | None]) -> Failure | int | None:
    """Call ``run()``; an exception becomes the value."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001  whatever it is, the caller must hear of it
        return failure_of(f"worker {worker}", error)


def failure_of(worker: str, error: Exception) -> Failure:
    """What is told of an exception of this process, which is that `worker`."""
    who = f"{worker} (pid {os.getpid()} on {platform.node()})"
    return Failure(who, type(error).__name__, str(error), "".join(traceback.format_exception(error)))


def raise_first(outcomes: Sequence[Failure | int | None]) -> None:
    """Raise the first failure, if there is one."""
    for failure in outcomes:
        if isinstance(failure, Failure):
            raise error_of(failure, MemoryError if failure.kind == "MemoryError" else BackendError)


def error_of(failure: Failure, kind: type[Exception]) -> Exception:
    """An exception of this `kind` that tells of the failure."""
    error = kind(f"{failure.worker} raised {failure.kind}: {failure.message}")
    error.__cause__ = RemoteTraceback(failure.traceback)
    return error
