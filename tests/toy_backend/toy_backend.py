"""A backend in one file: Python threads that multiply blocks of rows by NumPy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
from numpy.typing import NDArray

from parlinalg.backends import Backend, NumPy, Resident
from parlinalg.backends._base import Array
from parlinalg.split import blocks

serial = NumPy()


class ToyThreads(Backend):
    name = "toy-threads"

    def place(self, A: Array, workers: int) -> Resident:
        return RowBlocks(A, workers)

    def sum_states(self, a: Array, kept: int, workers: int) -> NDArray[np.int64]:
        states: NDArray[np.int64] = serial.sum_states(a, kept, 1)
        return states


class ToyAbsent(ToyThreads):
    """One that cannot run anywhere."""

    name = "toy-absent"

    @classmethod
    def why_not(cls) -> str | None:
        return "it stands on a library that does not exist. Use backend='toy-threads'"


class RowBlocks(Resident):
    def __init__(self, A: Array, workers: int) -> None:
        self.A = A
        self.rows = [slice(block.start, block.stop) for block in blocks(A.shape[-2], workers)]

    def matvec(self, x: Array, out: Array, *, exact: bool = False) -> None:
        with ThreadPoolExecutor(len(self.rows)) as pool:
            # Each in a copy of the context, which holds numpy.errstate.
            for task in [pool.submit(copy_context().run, self.multiply, rows, x, out) for rows in self.rows]:
                task.result()

    def multiply(self, rows: slice, x: Array, out: Array) -> None:
        serial.matvec(self.A[..., rows, :], x, out[..., rows], 1)

    def vecmat(self, x: Array, out: Array, *, exact: bool = False) -> None:
        serial.matvec(self.A.T, x.conj(), out, 1)
