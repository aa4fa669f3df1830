"""How far a product may be from the exact one, and how far it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["deviation", "reference"]

Array = NDArray[Any]

BLOCK = 1 << 20  # elements of A that are cast at a time: 16 MB of longdouble


def reference(A: Array, x: Array) -> tuple[Array, Array]:
    """``A @ x`` in ``numpy.longdouble`` (integers and bool: as NumPy does), and the error bound of each element.

    The bound is ``gamma_n * (abs(A) @ abs(x))`` with ``gamma_n = n*u / (1 - n*u)`` (Higham 2002, section 3.1); of
    complex numbers ``sqrt(2) * gamma_(n+2)``; of float16, which is accumulated in float32, that of float32 and one
    rounding more. Where longdouble is no wider than double, the reference has errors as large as those it measures.
    """
    dtype = np.result_type(A, x).newbyteorder("=")
    exact = dtype.kind in "biu"
    wide = dtype if exact else np.result_type(dtype, np.longdouble)
    product, magnitude = np.empty(A.shape[0], wide), np.zeros(A.shape[0])
    step = max(1, BLOCK // max(1, A.shape[1]))
    for first in range(0, A.shape[0], step):
        rows = slice(first, first + step)
        product[rows] = np.matvec(A[rows].astype(wide), x.astype(wide))
        if not exact:
            magnitude[rows] = np.matvec(np.abs(A[rows]).astype(np.float64), np.abs(x).astype(np.float64))
    return product, magnitude if exact else _bound(magnitude, np.abs(product), dtype, A.shape[1])


def _bound(magnitude: Array, size: Array, dtype: np.dtype, n: int) -> Array:
    half = dtype.itemsize == 2
    accumulated = np.dtype(np.float32) if half else dtype
    u = _unit_roundoff(accumulated)
    terms = n + 2 if dtype.kind == "c" else n
    gamma = terms * u / (1 - terms * u) if terms * u < 1 else math.inf
    bound = gamma * magnitude * (math.sqrt(2) if dtype.kind == "c" else 1)
    # A product that underflows is off by up to half of the smallest number; this also keeps the bound above zero.
    bound += (n + 1) * _smallest(accumulated)
    if half:
        bound += _unit_roundoff(dtype) * (size.astype(np.float64) + bound) + _smallest(dtype)
    return bound


def _smallest(dtype: np.dtype) -> float:
    return float(max(np.finfo(dtype).smallest_subnormal, 5e-324))


def _unit_roundoff(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).eps) / 2


def deviation(y: Array, product: Array, bound: Array) -> float:
    """The largest deviation of y from the reference, in units of the bound; infinite for what no bound allows.

    Integers, and what is infinite or NaN, must be the same.
    """
    with np.errstate(all="ignore"):
        expected = product.astype(y.dtype)
        if y.dtype.kind in "biu":
            return 0.0 if np.array_equal(y, expected) else math.inf
        finite = np.isfinite(y) & np.isfinite(expected)
        if not np.array_equal(y[~finite], expected[~finite], equal_nan=True):
            return math.inf
        far = np.abs(y[finite].astype(product.dtype) - product[finite]) / bound[finite]
    return float(far.max(initial=0.0))
