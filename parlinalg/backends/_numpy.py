"""The serial reference: NumPy's own matvec, and exact sums and products on one thread."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from ..exact import report
from ..products import write_products
from ._base import Array, Backend, Resident

__all__ = ["SILENT", "NumPy", "multiply_matrix", "silently"]

MULTIPLICATIONS, LEAST_ROWS = 1 << 32, 256  # that BLAS does at a time: less than half a second
BLOCK_BYTES = 1 << 20  # of A, cast or aligned at a time where NumPy cannot take it as it lies

P = ParamSpec("P")
R = TypeVar("R")

SILENT = Context()
SILENT.run(np.seterr, all="ignore")


def silently(function: Callable[P, R], /, *args: P.args, **options: P.kwargs) -> R:
    """Call it where NumPy reports nothing: entering a copy of a context costs less than `numpy.errstate`."""
    return SILENT.copy().run(function, *args, **options)


class NumPy(Backend):
    """``numpy.matvec`` behind the same call: what every other backend is held against. Always there.

    Parameters
    ----------
    reports : bool
        Whether products report overflow and invalid operations as ``numpy.errstate`` says.
    """

    name = "numpy"
    capacity = 1
    exact_products = True

    reports = True

    def __init__(self, *, reports: bool = True) -> None:
        self.reports = reports

    @classmethod
    def version(cls) -> str:
        return f"NumPy {np.__version__}"

    def place(self, A: Array, workers: int) -> Resident:
        return ArrayInMemory(A, self.reports)

    def matvec(self, A: Array, x: Array, out: Array, workers: int, *, exact: bool = False) -> None:
        ArrayInMemory(A, self.reports).matvec(x, out, exact=exact)

    def sum_states(self, a: Array, kept: int, workers: int) -> NDArray[np.int64]:
        return _kernels.sum_states(a, kept, 1)

    def write_sums(self, a: Array, kept: int, out: Array, workers: int) -> None:
        report(_kernels.write_sums(a, kept, 1, out))


class ArrayInMemory(Resident):
    """The array itself: nothing is copied."""

    def __init__(self, A: Array, reports: bool = True) -> None:
        self.A = A
        self.at_hand = None if reports else A
        self.reports = reports

    def matvec(self, x: Array, out: Array, *, exact: bool = False) -> None:
        if exact:
            report(write_products(self.A, x, out, 1))
        else:
            self._call(multiply, x, out)

    def vecmat(self, x: Array, out: Array, *, exact: bool = False) -> None:
        self.transposed().matvec(x.conj(), out, exact=exact)

    def matmat(self, X: Array, out: Array, *, exact: bool = False) -> None:
        if stays(self.A, out.dtype) and not exact:
            self._call(multiply_matrix, X, out)
        else:
            super().matmat(X, out, exact=exact)

    def transposed(self) -> Resident:
        return ArrayInMemory(self.A.T, self.reports)

    def _call(self, function: Callable[[Array, Array, Array], None], x: Array, out: Array) -> None:
        if self.reports:
            function(self.A, x, out)
        else:
            silently(function, self.A, x, out)


def multiply(A: Array, x: Array, out: Array) -> None:
    """``numpy.matvec``, but where that would cast or align all of A, this is done a block at a time."""
    if stays(A, out.dtype):
        np.matvec(A, x, out=out)
        return
    most = max(1, BLOCK_BYTES * A.shape[-2] // max(1, A.size * out.itemsize))  # rows
    if most == 1:
        multiply_wide(A, x, out)
        return
    for first in range(0, A.shape[-2], most):
        rows = slice(first, first + most)
        np.matvec(A[..., rows, :].astype(out.dtype), x, out=out[..., rows])


def multiply_wide(A: Array, x: Array, out: Array) -> None:
    """The same by blocks of columns, for rows that are long themselves; sums of float16 are kept in float32."""
    dtype = np.result_type(out, np.float32) if out.dtype == np.float16 else out.dtype
    sums = np.zeros(out.shape, dtype)
    most = max(1, BLOCK_BYTES * A.shape[-1] // max(1, A.size * dtype.itemsize))
    for first in range(0, A.shape[-1], most):
        columns = slice(first, first + most)
        sums += np.matvec(A[..., columns].astype(dtype), x[..., columns].astype(dtype))
    np.copyto(out, sums, casting="same_kind")


def multiply_matrix(A: Array, X: Array, out: Array) -> None:
    """``numpy.matmul`` by rows of A, so that Ctrl-C is seen in between."""
    most = max(LEAST_ROWS, MULTIPLICATIONS // max(1, X.size))
    for first in range(0, A.shape[0], most):
        rows = slice(first, first + most)
        np.matmul(A[rows], X, out=out[rows])


def stays(A: Array, dtype: np.dtype) -> bool:
    """Whether NumPy computes in `dtype` with A as it lies."""
    return A.dtype == dtype and A.flags.aligned
