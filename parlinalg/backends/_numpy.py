"""The serial reference: NumPy's own matvec, and exact sums on one thread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from ._base import Array, Backend, Resident

__all__ = ["NumPy"]

BLOCK_BYTES = 1 << 20  # of A, cast at a time where its dtype is not the one to compute in


class NumPy(Backend):
    """``numpy.matvec`` behind the same call: what every other backend is held against. Always there."""

    name = "numpy"
    capacity = 1

    @classmethod
    def version(cls) -> str:
        return f"NumPy {np.__version__}"

    def place(self, A: Array, workers: int) -> Resident:
        return ArrayInMemory(A)

    def matvec(self, A: Array, x: Array, out: Array, workers: int) -> None:
        multiply(A, x, out)

    def sum_states(self, a: Array, kept: int, workers: int) -> NDArray[np.int64]:
        return _kernels.sum_states(a, kept, 1)


class ArrayInMemory(Resident):
    """The array itself: nothing is copied."""

    def __init__(self, A: Array) -> None:
        self.A = A

    def matvec(self, x: Array, out: Array) -> None:
        multiply(self.A, x, out)

    def vecmat(self, x: Array, out: Array) -> None:
        multiply(self.A.T, x.conj(), out)

    def matmat(self, X: Array, out: Array) -> None:
        np.matmul(self.A, X, out=out)


def multiply(A: Array, x: Array, out: Array) -> None:
    """``numpy.matvec``, but where A must be cast it is cast a block of rows at a time."""
    if A.dtype == out.dtype:
        np.matvec(A, x, out=out)
        return
    rows = max(1, BLOCK_BYTES * A.shape[-2] // max(1, A.size * out.itemsize))
    for first in range(0, A.shape[-2], rows):
        block = slice(first, first + rows)
        np.matvec(A[..., block, :].astype(out.dtype), x, out=out[..., block])
