"""Exact sums, and exact products, on an OpenCL device: states of rows."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from ..exact import FLOAT_DIGITS, PRODUCT_DIGITS
from ..products import product_sums
from ._base import Array
from ._device import Device

__all__ = ["Rows", "row_states", "rows_of", "rows_there", "write_exactly"]

BIAS = {FLOAT_DIGITS: 1088, PRODUCT_DIGITS: 2176}  # of the lowest digit of a state: it weighs 2**-BIAS
GROUP = 64  # work items that share a part of a row, on devices that are no processors
SHORTEST_PART = 4096  # elements of a row that are worth a partial state
MOST_STATES = 1 << 23  # bytes of partial states at a time
# By which kernels see how their thread computes: the smallest float64 and float32, and half a unit of 1.0.
PROBES = (np.uint64(1), np.uint32(1), np.float64(2.0**-53).view(np.uint64))


class Rows(NamedTuple):
    """Rows of numbers that follow each other in a buffer."""

    buffer: Any
    start: int  # of the first element
    rows: int
    n: int
    dtype: np.dtype


def rows_of(device: Device, a: Array, rows: int, n: int) -> Rows:
    """An array of the host, `rows` times `n` elements in its own order, in a buffer."""
    dtype = a.dtype.newbyteorder("=")
    buffer, start = device.aligned_buffer(np.ascontiguousarray(a, dtype).reshape(-1))
    return Rows(buffer, start, rows, n, dtype)


def rows_there(a: Any, rows: int, n: int) -> Rows:
    """A contiguous array of pyopencl."""
    a.queue.finish()  # its values may still be on their way, also from another queue
    return Rows(a.base_data, a.offset // a.dtype.itemsize, rows, n, a.dtype)


def row_states(device: Device, a: Rows, length: int, weights: Array | None = None) -> NDArray[np.int64]:
    """Normalised states of the sums of each row, or of its products with `weights`.

    Weights are float64, shape (vectors, n): rows of `a` in as many blocks of equal size belong to one each.
    """
    by_folds = length > 1 and _folds_are_exact(device, a.dtype, length)
    return _row_states(device, a, length, weights, by_folds)


def _row_states(device: Device, a: Rows, length: int, weights: Array | None, by_folds: bool) -> NDArray[np.int64]:
    rows, n = a.rows, a.n
    states = np.zeros((rows, length), np.int64)
    if states.size == 0 or n == 0:
        return states
    units = device.units * (device.settings.ranges_per_unit if device.is_processor else GROUP * 4)
    parts = max(1, min(-(-units // rows), n // SHORTEST_PART))
    vectors = 1 if weights is None else len(weights)
    of_vector = rows // vectors
    step = min(max(1, MOST_STATES // (8 * length * parts)), of_vector)  # rows of one vector at a time
    for vector in range(vectors):
        own = None if weights is None else device.buffer(np.ascontiguousarray(weights[vector]))
        for first in range(vector * of_vector, (vector + 1) * of_vector, step):
            last = min(first + step, (vector + 1) * of_vector)
            _add_rows(device, a, states[first:last], first, parts, own, by_folds)
    if length > 1:
        _kernels.normalise(states)
    return states


def _add_rows(
    device: Device, a: Rows, states: NDArray[np.int64], first: int, parts: int, weights: Any, by_folds: bool
) -> None:
    rows, length = states.shape
    found = np.empty((rows, parts, length), np.int64)
    result = device.empty(found.nbytes)
    sizes = [np.int64(one) for one in (a.start + first * a.n, rows, a.n, parts)]
    group = 1 if device.is_processor else GROUP
    ranges = min(rows * parts, device.settings.ranges_per_unit * device.units)
    if length == 1:
        items = ranges if device.is_processor else -(-rows * parts // GROUP) * GROUP
        device.totals(a.dtype)(device.queue, (items,), (group,), a.buffer, *sizes, result)
    else:
        local = () if device.is_processor else (device.cl.LocalMemory(8 * GROUP),)
        kernel = device.sums(a.dtype, length, BIAS[length], by_folds=by_folds)
        factors = a.buffer if weights is None else weights
        kernel(
            device.queue, (ranges * group,), (group,), a.buffer, *sizes, result, factors, np.int64(1), *PROBES, *local
        )
    device.cl.enqueue_copy(device.queue, found, result)
    np.add.reduce(found, axis=1, out=states)


def write_exactly(device: Device, A: Array, x: Array, out: Array) -> int:
    """Write ``A @ x`` into `out`, each element rounded once; return the flags that `exact.report` takes."""
    conditions = 0
    targets = (out.real, out.imag) if out.dtype.kind == "c" else (out,)
    real = out.dtype.type(0).real.dtype
    for target, (a, kept, weights, _) in zip(targets, product_sums(A, x, out.shape[:-1], out.dtype), strict=True):
        rows, n = prod(a.shape[:kept]), prod(a.shape[kept:])
        vectors = prod(out.shape[:-1])
        if rows == 0:
            continue
        flat = rows_of(device, a.astype(real, copy=False), rows, n)
        own = weights.take(0, axis=kept - 1 - a.ndim)  # one vector of weights for all rows of a matrix
        factors = np.ascontiguousarray(np.broadcast_to(own, (*out.shape[:-1], *a.shape[kept:])))
        states = row_states(device, flat, PRODUCT_DIGITS, factors.reshape(vectors, n))
        rounded = np.empty(rows, real)
        conditions |= _kernels.round_states(states, rounded)
        target[...] = rounded.reshape(target.shape)
    return conditions


def _folds_are_exact(device: Device, dtype: np.dtype, length: int) -> bool:
    """Whether this device has shown, in a trial, that additions of float64 give the same states as integers do."""
    trial = dtype.name, length
    if trial not in device.trials:
        device.trials[trial] = device.has_float64 and _passes(device, dtype, length)
    return device.trials[trial]


def _passes(device: Device, dtype: np.dtype, length: int) -> bool:
    with np.errstate(all="ignore"):
        a = _trial_rows(dtype)
        weights = None if length == FLOAT_DIGITS else a[3:4].astype(np.float64)
        by_integers = np.empty((len(a), length), np.int64)
        for states, row in zip(by_integers, a, strict=True):
            states[...] = _kernels.sum_states(row, 0, 1, *(() if weights is None else (weights[0], dtype.itemsize < 8)))
        by_folds = _row_states(device, rows_of(device, a, *a.shape), length, weights, True)
        return bool((by_folds == by_integers).all())


def _trial_rows(dtype: np.dtype) -> Array:
    """Rows that fit into folds, and that hardly do, or do not; each also negated."""
    rng = np.random.default_rng(0)
    n = 3000
    limits = np.finfo(dtype)
    spreads = (0, 5, 15) if dtype == np.float16 else (0, 30, 50, 100)
    rows = [np.ldexp(rng.standard_normal(n), rng.integers(-spread, spread + 1, n)) for spread in spreads]
    rows.append(rng.integers(0, 1000, n) * float(limits.smallest_subnormal))
    rows.append(np.where(rng.random(n) < 0.5, float(limits.max), float(limits.smallest_subnormal)))
    rows.append(np.resize([1.0, 2.0**-53, -(2.0**-54), 2.0**-24, float(limits.tiny)], n))
    both = np.array(rows + [-row for row in rows])
    return both.clip(float(limits.min), float(limits.max)).astype(dtype)
