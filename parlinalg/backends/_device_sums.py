"""Exact sums on an OpenCL device: states of rows."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from ..exact import FLOAT_DIGITS, PRODUCT_DIGITS, digits
from ..split import pieces
from ._base import Array
from ._device import CHUNK, WIDEST, Device, power_of_two

__all__ = ["Rows", "add_states", "cut", "lies_ready", "room_for", "rows_there", "sent", "states_of", "states_there"]

BIAS = {FLOAT_DIGITS: 1088, PRODUCT_DIGITS: 2176}  # of the lowest digit of a state: it weighs 2**-BIAS
GROUP = 128  # work items that share a part of a row, on devices that are no processors, if they can be as many
GROUPS = 16  # of them, for each compute unit
SHORTEST_PART = 4096  # elements of a row that are worth a partial state
MOST_STATES = 1 << 23  # bytes of partial states at a time
MOST_ELEMENTS = 1 << 30  # that are added before a state is normalised, which 2**31 could overflow
COPIED_AT_A_TIME = 16 << 20  # bytes of what does not lie in memory as a device reads it
# By which kernels see how their thread computes: the smallest float64 and float32, and half a unit of 1.0.
PROBES = (np.uint64(1), np.uint32(1), np.float64(2.0**-53).view(np.uint64))


class Rows(NamedTuple):
    """Rows of numbers that follow each other in a buffer, once `events` have happened."""

    buffer: Any
    start: int  # of the first element
    rows: int
    n: int
    dtype: np.dtype
    events: tuple[Any, ...] = ()


def states_of(device: Device, a: Array, kept: int) -> NDArray[np.int64]:
    """The states of the sums over all but the first `kept` axes of an array of the host."""
    dtype = a.dtype.newbyteorder("=")
    length = digits(dtype)
    states = np.zeros((*a.shape[:kept], length), np.int64)
    for index, rows in sent(device, _as_it_lies(a, kept), kept, dtype):
        add_states(device, rows, states[index[:kept]].reshape(rows.rows, length))
    return states


def states_there(device: Device, a: Any, kept: int) -> NDArray[np.int64]:
    """The same of a contiguous array of pyopencl; of complex numbers, two states each, along a last axis but one."""
    there = rows_there(device, a, kept)
    parts = 2 if a.dtype.kind == "c" else 1
    states = np.zeros((there.rows, parts, digits(there.dtype)), np.int64)
    most = min(MOST_ELEMENTS, room_for(device) // there.dtype.itemsize // 2 * 2) if parts == 2 else MOST_ELEMENTS
    for index, rows in cut(there, max(most, parts)):
        for part in range(parts):
            own = _part(device, rows, part) if parts == 2 else rows
            add_states(device, own, states[index[0], part])
    return states.reshape(*a.shape[:kept], *((2,) if parts == 2 else ()), -1)


def cut(a: Rows, most: int) -> Iterator[tuple[tuple[slice, slice], Rows]]:
    """Pieces of at most `most` elements, and which rows and columns they are."""
    for index in pieces((a.rows, a.n), most):
        of_rows, of_columns = index if len(index) == 2 else (slice(None), slice(None))
        first, end, _ = of_rows.indices(a.rows)
        begin, stop, _ = of_columns.indices(a.n)
        start = a.start + first * a.n + begin
        yield (of_rows, of_columns), a._replace(start=start, rows=end - first, n=stop - begin)


def _part(device: Device, a: Rows, part: int) -> Rows:
    """A copy, on the device, of the real parts of complex numbers, or of the imaginary ones."""
    count = a.rows * a.n // 2
    copy = device.empty(count * a.dtype.itemsize)
    done: tuple[Any, ...] = ()
    if count:
        sizes = np.int64(a.start + part), np.int64(count)
        done = (device.parts(a.dtype)(device.queue, (count,), None, a.buffer, *sizes, copy),)
    return Rows(copy, 0, a.rows, a.n // 2, a.dtype, done)


def rows_there(device: Device, a: Any, kept: int) -> Rows:
    """A contiguous array of pyopencl, once its values are there; complex numbers are two real ones each."""
    a.finish()  # what it waits for itself, in any queue
    a.queue.finish()
    dtype = a.dtype.type(0).real.dtype
    rows, n = prod(a.shape[:kept]), prod(a.shape[kept:]) * (a.dtype.itemsize // dtype.itemsize)
    if a.offset % dtype.itemsize == 0 or a.size == 0:
        return Rows(a.base_data, a.offset // dtype.itemsize, rows, n, dtype)
    copy = device.empty(a.nbytes)
    device.cl.enqueue_copy(device.queue, copy, a.base_data, byte_count=a.nbytes, src_offset=a.offset).wait()
    return Rows(copy, 0, rows, n, dtype)


def sent(device: Device, a: Array, kept: int, dtype: np.dtype, each: int | None = None) -> Iterator[tuple[Any, Rows]]:
    """An array of the host in buffers, and which piece of it is in each: its first `kept` axes are those of rows.

    Parameters
    ----------
    dtype : dtype
        Real, in native order; elements are cast to it.
    each : int, optional
        Bytes that an element needs in the largest buffer; None: its own.
    """
    room = room_for(device) if lies_ready(a, dtype) else min(COPIED_AT_A_TIME, room_for(device))
    for index in pieces(a.shape, min(room // (each or dtype.itemsize), MOST_ELEMENTS)):
        with _kernels.ieee754():
            piece = np.require(a[index], dtype, ["C", "A"])
        yield index, _rows_of(device, piece, prod(piece.shape[:kept]), prod(piece.shape[kept:]))


def lies_ready(a: Array, dtype: np.dtype) -> bool:
    """Whether a device can read the array from memory."""
    return a.dtype == dtype and a.flags.c_contiguous and a.flags.aligned


def room_for(device: Device) -> int:
    """Bytes of an array that are worth a buffer at a time."""
    return device.largest if device.is_processor else min(device.largest, device.room() // 4)


def _as_it_lies(a: Array, kept: int) -> Array:
    """The axes that are summed over, whose order does not count, as they lie in memory."""
    axes = sorted(range(kept, a.ndim), key=lambda axis: -abs(a.strides[axis]))
    a = a.transpose(*range(kept), *axes)
    turned: tuple[Any, ...] = tuple(slice(None, None, -1 if stride < 0 else 1) for stride in a.strides[kept:])
    return a[(..., *turned)]


def _rows_of(device: Device, a: Array, rows: int, n: int) -> Rows:
    buffer, start = device.aligned_buffer(a.reshape(-1))
    return Rows(buffer, start, rows, n, a.dtype)


def add_states(device: Device, a: Rows, states: NDArray[np.int64], weights: Array | None = None) -> None:
    """Add the sums of each row, or of its products with as many float64 `weights`, to states, which are normalised."""
    by_folds = states.shape[1] > 1 and _folds_are_exact(device, a.dtype, states.shape[1])
    _add_states(device, a, states, weights, by_folds)


def _add_states(device: Device, a: Rows, states: NDArray[np.int64], weights: Array | None, by_folds: bool) -> None:
    rows, length = states.shape
    if rows == 0 or a.n == 0:
        return
    units = device.units * (device.settings.ranges_per_unit if device.is_processor else GROUPS)
    most = min(MOST_STATES, room_for(device)) // (8 * length)  # states at a time
    parts = max(1, min(-(-units // rows), a.n // SHORTEST_PART, most))
    step = max(1, most // parts)
    factors = None if weights is None else device.buffer(weights)
    for first in range(0, rows, step):
        some = a._replace(start=a.start + first * a.n, rows=min(step, rows - first))
        states[first : first + step] += _sums_of_rows(device, some, parts, length, factors, by_folds)
    if length > 1:
        _kernels.normalise(states)


def _sums_of_rows(device: Device, a: Rows, parts: int, length: int, weights: Any, by_folds: bool) -> NDArray[np.int64]:
    """The states of rows, each computed in so many parts."""
    of_parts = device.empty(8 * a.rows * parts * length)
    if length == 1:
        at_once = WIDEST // a.dtype.itemsize
        aligned = not device.is_processor and a.start % at_once == a.n % at_once == 0
        kernel, more = device.totals(a.dtype, at_once if aligned else 1), list[Any]()
    else:
        kernel = device.sums(a.dtype, length, BIAS[length], by_folds=by_folds)
        more = [a.buffer if weights is None else weights, np.int64(1), *PROBES]
    group, local = _group(device, kernel, CHUNK if length > 1 else 1)
    ranges = min(a.rows * parts, device.settings.ranges_per_unit * device.units)
    sizes = [np.int64(one) for one in (a.start, a.rows, a.n, parts)]
    waits = a.events or None
    done = kernel(device.queue, (ranges * group,), (group,), a.buffer, *sizes, of_parts, *more, *local, wait_for=waits)
    if device.is_processor or parts == 1:
        states_of_parts = _fetched(device, of_parts, (a.rows, parts, length), done)
        total: NDArray[np.int64] = np.add.reduce(states_of_parts, axis=1)
        return total
    states = device.empty(8 * a.rows * length)
    kernel = device.states()
    group, local = _group(device, kernel, 1)
    sizes = [np.int64(one) for one in (parts, length)]
    done = kernel(device.queue, (a.rows * length * group,), (group,), of_parts, *sizes, states, *local)
    return _fetched(device, states, (a.rows, length), done)


def _fetched(device: Device, buffer: Any, shape: tuple[int, ...], done: Any) -> NDArray[np.int64]:
    found = np.empty(shape, np.int64)
    device.cl.enqueue_copy(device.queue, found, buffer, wait_for=[done])
    return found


def _group(device: Device, kernel: Any, chunk: int) -> tuple[int, tuple[Any, ...]]:
    """How many work items share a part of a row, and the local memory that they need, `chunk` numbers for each of them.

    As they add up as a tree, they are a power of two.
    """
    if device.is_processor:
        return 1, ()
    info = device.cl.kernel_work_group_info
    most = min(
        kernel.get_work_group_info(info.WORK_GROUP_SIZE, device.opencl),
        int(device.opencl.max_work_group_size),
        int(device.opencl.local_mem_size) // (8 * chunk),
    )
    group = power_of_two(min(GROUP, most))
    return group, (device.cl.LocalMemory(8 * chunk * group),)


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
        by_folds = np.zeros_like(by_integers)
        _add_states(device, _rows_of(device, a, *a.shape), by_folds, None if weights is None else weights[0], True)
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
