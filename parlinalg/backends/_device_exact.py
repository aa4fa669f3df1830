"""Exact products on an OpenCL device: sums of rows with weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _kernels
from ..exact import PRODUCT_DIGITS
from ..operands import is_there, real_view
from ..products import product_weights
from ._base import Array
from ._device import Device
from ._device_sums import Rows, add_states, cut, lies_ready, room_for, rows_there, sent

__all__ = ["ExactMatrix"]

WEIGHT = 8  # bytes: of each element that is sent, there is one more number, of which there are as many at most


class Pieces(list[tuple[Any, Rows]]):
    """Of a matrix, in buffers that stay."""


class ExactMatrix:
    """A matrix for exact products, or a batch of them; what was sent for one product is kept for the next.

    Parameters
    ----------
    device : Device
    A : ndarray, shape (..., m, n), or pyopencl.array.Array, shape (m, n)
    """

    def __init__(self, device: Device, A: Any) -> None:
        self._device = device
        self._A = A
        self._kept: dict[tuple[Any, ...], Pieces] = {}
        self._used: set[tuple[Any, ...]] = set()
        self._room = device.room() // 2  # bytes that may be kept

    def write(self, x: Array, out: Array, *, transposed: bool) -> int:
        """Write ``A @ x`` or ``x @ A`` into `out`, each element rounded once; return the flags for `exact.report`.

        Parameters
        ----------
        x : shape (..., n)
        out : shape (..., m)
        """
        conditions = 0
        parts = (out.real, out.imag) if out.dtype.kind == "c" else (out,)
        vectors = np.broadcast_to(x, (*out.shape[:-1], x.shape[-1]))
        for index in np.ndindex(*out.shape[:-1]):
            weights = product_weights(vectors[index], self._A.dtype.kind == "c", out.dtype)
            for target, own in zip(parts, weights, strict=True):
                conditions |= self._write_part(index, own, target[index], transposed)
        return conditions

    def _write_part(self, index: tuple[int, ...], weights: Array, target: Array, transposed: bool) -> int:
        states = np.zeros((target.size, PRODUCT_DIGITS), np.int64)
        for piece, rows in self._pieces(index, transposed, target.dtype):
            factors = weights if len(piece) > 2 else weights.reshape(-1)  # of what is there, parts follow each other
            add_states(self._device, rows, states[piece[:1]], np.ascontiguousarray(factors[piece[1:]]))
        rounded = np.empty(target.shape, target.dtype)
        conditions = _kernels.round_states(states, rounded)
        target[...] = rounded
        return conditions

    def _pieces(self, index: tuple[int, ...], transposed: bool, dtype: np.dtype) -> Iterable[tuple[Any, Rows]]:
        """One matrix in buffers, each with its piece of the rows, and of the columns."""
        shape = self._A.shape[:-2]
        own = tuple(i if length > 1 else 0 for i, length in zip(index[len(index) - len(shape) :], shape, strict=True))
        key = own, transposed, dtype
        if key in self._kept:
            return self._kept[key]
        if is_there(self._A):
            there = self._A.T if transposed else self._A
            if there.flags.c_contiguous and there.dtype.type(0).real.dtype == dtype:
                return cut(rows_there(self._device, there, 1), max(1, room_for(self._device) // WEIGHT))
            matrix = self._A.get()
        else:
            matrix = self._A[own]
        return self._keep(key, matrix.T if transposed else matrix)

    def _keep(self, key: tuple[Any, ...], matrix: Array) -> Iterable[tuple[Any, Rows]]:
        """Send it, and keep it if there is room; copies that are made on the host, from the second product on."""
        dtype: np.dtype = key[-1]
        rows = real_view(matrix, 2) if matrix.dtype.kind == "c" else matrix
        found = sent(self._device, rows, 1, dtype, WEIGHT)
        again = key in self._used or not self._device.is_processor or lies_ready(rows, dtype)
        self._used.add(key)
        nbytes = rows.size * dtype.itemsize
        if not again or nbytes > min(self._room, self._device.room()):
            return found
        self._room -= nbytes
        pieces = self._kept[key] = Pieces(found)
        self._device.count(pieces, nbytes)
        return pieces

    def close(self) -> None:
        """Free what was kept."""
        self._kept.clear()
