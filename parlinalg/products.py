"""Exact products: sums of products of two floats, each of which is rounded once (docs: exact sums).

A product is a sum whose elements have weights. A complex one is two real ones over the same elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels
from .operands import real_view

__all__ = ["product_states", "product_sums", "product_weights", "write_products"]

Array = NDArray[Any]


def write_products(A: Array, x: Array, out: Array, workers: int) -> int:
    """Write ``A @ x`` into `out`, each element rounded once; return the flags that `exact.report` takes.

    Parameters
    ----------
    A : shape (..., m, n)
    x : shape (..., n)
    out : shape (..., m)
        Its dtype, a float or complex one, is what A and x are cast to first.
    """
    conditions = 0
    for part, (a, kept, weights, single) in zip(
        _parts(out), product_sums(A, x, out.shape[:-1], out.dtype), strict=True
    ):
        conditions |= _kernels.write_sums(a, kept, workers, part, weights, single)
    return conditions


def product_states(A: Array, x: Array, dtype: np.dtype, workers: int) -> NDArray[np.int64]:
    """The elements of ``A @ x`` as states, shape (m, 1, 139), or (m, 2, 139) where `dtype` is complex."""
    sums = [
        _kernels.sum_states(a, kept, workers, weights, single)
        for a, kept, weights, single in product_sums(A, x, (), dtype)
    ]
    return np.stack(sums, axis=-2)


def _parts(out: Array) -> tuple[Array, ...]:
    return (out.real, out.imag) if out.dtype.kind == "c" else (out,)


def product_sums(
    A: Array, x: Array, batch: tuple[int, ...], dtype: np.dtype
) -> Iterator[tuple[Array, int, NDArray[np.float64], bool]]:
    """The real sums that a product consists of: elements, how many of their axes are kept, weights, float32 or not."""
    single = dtype.char in "efF"
    kept = len(batch) + 1
    if batch:
        A = np.broadcast_to(A, (*batch, *A.shape[-2:]))
    complex_A = A.dtype.kind == "c"
    for part in product_weights(x, complex_A, dtype):
        weights = part[..., np.newaxis, :, :] if complex_A else part[..., np.newaxis, :]
        yield real_view(A, A.ndim) if complex_A else A, kept, weights, single


def product_weights(x: Array, complex_A: bool, dtype: np.dtype) -> list[NDArray[np.float64]]:
    """Of each of these sums: by what the elements of A are multiplied, once x was cast to `dtype`."""
    with _kernels.ieee754():
        return [np.ascontiguousarray(one, np.float64) for one in _weights(x.astype(dtype, copy=False), complex_A)]


def _weights(x: Array, complex_A: bool) -> Iterator[Array]:
    """By what the elements of A, or their real and imaginary parts along a last axis, are multiplied."""
    if x.dtype.kind != "c":
        yield x
    elif complex_A:
        yield np.stack([x.real, -x.imag], axis=-1)
        yield np.stack([x.imag, x.real], axis=-1)
    else:
        yield x.real
        yield x.imag
