"""Threads of this process, by OpenMP: compiled kernels on blocks of the arrays where they lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from ..exact import report
from ..products import write_products
from ..workers import cpu_count
from ._base import Array, Backend, Resident
from ._numpy import multiply_matrix, silently

__all__ = ["OpenMP"]

BLAS_DTYPES = "fdFD"


class OpenMP(Backend):
    """Kernels for every numeric dtype and all strides, on threads that share the caller's arrays."""

    name = "openmp"
    exact_products = True
    capacity = max(64, 4 * cpu_count())  # libgomp ends the process when it cannot start a thread

    @classmethod
    def why_not(cls) -> str | None:
        if _kernels.openmp_version():
            return None
        return (
            "parlinalg was built with PARLINALG_NO_OPENMP=1. "
            "Build it again without that variable, with a compiler that has OpenMP, for example gcc"
        )

    @classmethod
    def version(cls) -> str:
        return f"OpenMP {_kernels.openmp_version()}, {_kernels.simd()}"

    def place(self, A: Array, workers: int) -> Resident:
        return SharedArray(A, workers)

    def matvec(self, A: Array, x: Array, out: Array, workers: int, *, exact: bool = False) -> None:
        multiply(A, x, out, workers, exact)

    def sum_states(self, a: Array, kept: int, workers: int) -> NDArray[np.int64]:
        return _kernels.sum_states(a, kept, workers)

    def write_sums(self, a: Array, kept: int, out: Array, workers: int) -> None:
        report(_kernels.write_sums(a, kept, workers, out))


class SharedArray(Resident):
    """The array itself, which all threads see: nothing is copied."""

    def __init__(self, A: Array, workers: int) -> None:
        self.A = self.at_hand = A
        self.workers = workers

    def matvec(self, x: Array, out: Array, *, exact: bool = False) -> None:
        multiply(self.A, x, out, self.workers, exact)

    def vecmat(self, x: Array, out: Array, *, exact: bool = False) -> None:
        multiply(self.A.T, x.conj(), out, self.workers, exact)

    def matmat(self, X: Array, out: Array, *, exact: bool = False) -> None:
        if self.A.dtype == out.dtype and out.dtype.char in BLAS_DTYPES and not exact:
            silently(multiply_matrix, self.A, X, out)
        elif not exact and (self.A.shape[1] <= _kernels.SHORT_ROWS or out.dtype.kind in "iu"):
            _kernels.matvec(self.A, X.T, out.T, self.workers)
        else:
            super().matmat(X, out, exact=exact)

    def transposed(self) -> Resident:
        return SharedArray(self.A.T, self.workers)


def multiply(A: Array, x: Array, out: Array, workers: int, exact: bool) -> None:
    if exact:
        report(write_products(A, x, out, workers))
    else:
        _kernels.matvec(A, x, out, workers)
