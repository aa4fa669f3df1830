"""Products on an OpenCL device: a matrix in a buffer, and the kernels that suit it."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._base import Array
from ._device import PAIRS, WIDEST, Device, power_of_two
from ._shared import compact

__all__ = ["Block", "Pending"]

SHORTEST = 1 << 15  # columns of a share, on processors
EACH = 16  # columns that each item of a group adds up, at least, where others are shared out
PORTION = 1 << 15  # bytes
SHORT = 16  # elements of a row that are too few for vectors
VECTORS = ("float32", "float64", "int64", "uint64", "int32", "uint32")  # that processors add up in vectors
STARTS, X, X_START, Y, PARTS = 1, 6, 7, 8, 9  # numbers of arguments
Index = tuple[int, ...]


class Pending(NamedTuple):
    """Products that are queued."""

    y: Array  # on the host, once `event` has come
    event: Any
    used: tuple[Any, ...]  # by the device until then

    def wait(self) -> Array:
        self.event.wait()
        return self.y


class _Launch(NamedTuple):
    """A kernel whose arguments are set, but for the vectors and the starts of the matrices of a batch."""

    kernel: Any
    group: int  # work items of a group
    groups: int  # for one matrix
    most: int  # groups that are worth having
    portions: int  # of one matrix, that a cache holds while all vectors are multiplied with it
    shares: int  # of the columns, at most
    at_once: int  # elements that a load takes

    def size(self, batch: int) -> tuple[int, int, int]:
        """Work items for so many matrices, along the batch, the rows and the columns."""
        groups = min(self.groups, max(1, self.most // batch, self.portions))
        shares = max(1, min(self.shares, self.most // (batch * groups)))
        return batch, groups * self.group, shares


class Block:
    """A matrix, or rows of one, in a buffer of a device.

    Parameters
    ----------
    device : Device
    buffer : pyopencl.Buffer
    start : int
        Of the element that is first in every axis.
    strides, shape : tuple of int
        Of elements.
    dtype : str
        What the kernels are built for: a name among `_device.PRODUCTS`.
    used : object
        Memory of the host that the buffer uses.
    """

    def __init__(
        self, device: Device, buffer: Any, start: int, strides: Index, shape: Index, dtype: str, used: object = None
    ) -> None:
        self.device, self.buffer, self.offset = device, buffer, start
        self.strides, self.shape, self.dtype = strides, shape, dtype
        self.used = used
        self._turned: Block | None = None  # kept, since it keeps a kernel too
        self._first = device.small_copy(np.array([start], np.int64))
        # A kernel holds its arguments, so no two threads may share one.
        self._launches = threading.local()

    @classmethod
    def place(cls, device: Device, A: Array, dtype: str) -> Block:
        """Put an array there; on a processor, where it lies."""
        ready = _uploadable(device, A)
        memory, first = _memory_of(ready)
        buffer, start = device.aligned_buffer(memory)
        return cls(device, buffer, start + first, _strides_of(ready), ready.shape, dtype, memory)

    @classmethod
    def send(cls, device: Device, A: Array, dtype: str, queue: Any, room: Any) -> Block:
        """Queue a copy of an array into a buffer that is there already."""
        ready = _uploadable(device, A)
        memory, first = _memory_of(ready)
        used = device.cl.enqueue_copy(queue, room, memory, is_blocking=False), memory
        return cls(device, room, first, _strides_of(ready), ready.shape, dtype, used)

    def transpose(self) -> Block:
        """The transpose, in the same buffer."""
        if self._turned is None:
            strides, shape = self.strides, self.shape
            turned = (*strides[:-2], strides[-1], strides[-2]), (*shape[:-2], shape[-1], shape[-2])
            self._turned = Block(self.device, self.buffer, self.offset, *turned, self.dtype, self.used)
        return self._turned

    def start(self, x: Array, queue: Any) -> Pending:
        """Queue the products with x, shape (..., n), which has the dimensions of the result; contiguous rows.

        By one launch, or by as many as buffers for the vectors need.
        """
        device, (m, n) = self.device, self.shape[-2:]
        y = np.empty((*x.shape[:-1], m), x.dtype)
        if y.size == 0:
            return Pending(y, device.cl.enqueue_marker(queue), ())
        starts = self._starts(x.shape[:-1])
        vectors, results = x.reshape(len(starts), n), y.reshape(len(starts), m)
        together = max(1, device.largest // (max(m, n) * x.itemsize))
        used: list[Any] = [self, x, starts]
        event = None
        for first in range(0, len(starts), together):
            some = slice(first, first + together)
            vector, first_x = device.aligned_buffer(vectors[some])
            result = device.empty(results[some].nbytes)
            self.launch(queue, vector, result, starts[some] if x.ndim > 1 else None, x_start=first_x)
            event = device.cl.enqueue_copy(queue, results[some], result, is_blocking=False)
            used += [vector, result]
        return Pending(y, event, tuple(used))

    def launch(
        self,
        queue: Any,
        x: Any,
        y: Any,
        starts: NDArray[np.int64] | None = None,
        *,
        x_start: int = 0,
        wait_for: Any = None,
    ) -> Any:
        """Queue the kernel, for one matrix, or for those of a batch, with these starts; return its event."""
        own = self._launches
        if not hasattr(own, "launch"):
            own.launch, own.starts, own.x_start, own.parts, own.adds = self._prepare(), None, None, None, None
        launch: _Launch = own.launch
        kernel = launch.kernel
        if starts is not None or own.starts is not None:
            own.starts = None if starts is None else self.device.small_copy(starts)
            kernel.set_arg(STARTS, own.starts or self._first)
        if x_start != own.x_start:
            kernel.set_arg(X_START, np.int64(x_start))
            own.x_start = x_start
        size = launch.size(1 if starts is None else len(starts))
        if size[2] > 1:
            own.parts = self._room_for_parts(own.parts, size)
        kernel.set_arg(X, x)
        kernel.set_arg(Y, y)
        kernel.set_arg(PARTS, y if size[2] == 1 else own.parts)  # which a kernel without shares leaves alone
        group = 1, launch.group, 1
        done = self.device.cl.enqueue_nd_range_kernel(queue, kernel, size, group, wait_for=wait_for)
        return done if size[2] == 1 else self._add_shares(own, queue, y, size)

    def _room_for_parts(self, before: Any, size: tuple[int, int, int]) -> Any:
        """A buffer for what each share adds up: that of the product before, which the queue is done with by then."""
        nbytes = size[0] * size[2] * self.shape[-2] * _bytes_of_partial(self.dtype)
        return before if before is not None and before.size >= nbytes else self.device.empty(nbytes)

    def _add_shares(self, own: Any, queue: Any, y: Any, size: tuple[int, int, int]) -> Any:
        device, m, (batch, _, shares) = self.device, self.shape[-2], size
        launch: _Launch = own.launch
        group = launch.group
        own.adds = own.adds or device.products(self.dtype, "add_shares", launch.at_once)
        rows = min(group, device.settings.rows_side_by_side, 1 << (m - 1).bit_length())
        local = device.cl.LocalMemory(group * _bytes_of_partial(self.dtype))
        own.adds.set_args(own.parts, np.int64(shares), np.int64(m), y, local, np.int32(rows))
        groups = min(-(-m // rows), launch.most)
        return device.cl.enqueue_nd_range_kernel(queue, own.adds, (batch, groups * group), (1, group))

    def _starts(self, batch: Index) -> NDArray[np.int64]:
        """Of the matrices of a batch, one after the other; one matrix may be there for several vectors."""
        starts = np.full(batch, self.offset, np.int64)
        own = zip(reversed(self.strides[:-2]), reversed(self.shape[:-2]), strict=True)
        for axis, (step, length) in enumerate(own):
            if length > 1:
                starts += (step * np.arange(length)).reshape(length, *(1,) * axis)
        return starts.reshape(-1)

    def _prepare(self) -> _Launch:
        """Choose the kernel that suits the device and the strides."""
        device = self.device
        m, n = self.shape[-2:]
        row, column = self.strides[-2:]
        settings = device.settings
        rest: tuple[Any, ...] = ()
        at_once = 1
        if device.is_processor:
            group, most = 1, settings.ranges_per_unit * device.units
            name, groups, shares = "rows_in_order", min(m, most), n // SHORTEST
            if self.dtype in VECTORS and column == 1 and n >= SHORT:
                name = "contiguous_rows_in_order"
            elif self.dtype in VECTORS and row == 1:
                name = "contiguous_columns_in_order"
        else:
            group, most = settings.group, settings.groups_per_unit * device.units
            by_columns = m > 1 and abs(row) < abs(column)
            at_once = self._at_once(by_columns)
            if by_columns:
                name, width = "items_along_columns", settings.rows_side_by_side
                rows, shares = width * at_once, n // (group // width * EACH)
            else:
                name, width = "items_along_rows", min(group, power_of_two(n // (4 * at_once)))
                rows, shares = group // width, n // (width * max(EACH, 4 * at_once))
            groups = min(most, -(-m // rows))
            values = at_once if by_columns else 1
            rest = device.cl.LocalMemory(values * group * _bytes_of_partial(self.dtype)), np.int32(width)
        kernel = device.products(self.dtype, name, at_once)
        sizes = [np.int64(one) for one in (m, n, row, column)]
        for position, argument in [*enumerate((self.buffer, self._first, *sizes)), *enumerate(rest, PARTS + 1)]:
            kernel.set_arg(position, argument)
        portions = m * n * _bytes_of_partial(self.dtype) // PORTION
        return _Launch(kernel, group, groups, most, portions, shares, at_once)

    def _at_once(self, by_columns: bool) -> int:
        """How many elements a load can take: as many as are WIDEST, if each lies at a multiple of that; otherwise 1."""
        (m, n), (row, column) = self.shape[-2:], self.strides[-2:]
        step, other, length = (row, column, m) if by_columns else (column, row, n)
        most = WIDEST // (8 if self.dtype == PAIRS else np.dtype(self.dtype).itemsize)
        aligned = not any(one % most for one in (self.offset, other, length, *self.strides[:-2]))
        return most if step == 1 and aligned else 1


def _bytes_of_partial(dtype: str) -> int:
    """Of what products are added up in."""
    return {PAIRS: 16, "float16": 4}.get(dtype) or np.dtype(dtype).itemsize


def _strides_of(a: Array) -> Index:
    return tuple(stride // a.itemsize for stride in a.strides)


def _uploadable(device: Device, A: Array) -> Array:
    """`A`, aligned, with strides that count whole elements, in a buffer's bytes; itself where it is so.

    A device with memory of its own gets no elements that lie between those of A.
    """
    distinct = compact(A)
    address = A.__array_interface__["data"][0]
    whole = all(step % A.itemsize == 0 for step in (address, *A.strides))  # complex numbers are vectors to OpenCL
    spread = 1 + sum((n - 1) * abs(stride) for n, stride in zip(distinct.shape, _strides_of(distinct), strict=True))
    most = device.largest // A.itemsize if device.is_processor else distinct.size
    if not A.dtype.isnative or not whole or (distinct.size and spread > most):
        distinct = distinct.astype(A.dtype.newbyteorder("="), order="K", copy=True)
    return np.broadcast_to(distinct, A.shape)


def _memory_of(a: Array) -> tuple[Array, int]:
    """The memory that an array lies in, as a flat one, and the index of its first element there."""
    if a.size == 0:
        return a.reshape(-1), 0
    spans = [(length - 1) * stride // a.itemsize for length, stride in zip(a.shape, a.strides, strict=True)]
    start = -sum(span for span in spans if span < 0)
    lowest = a[tuple(slice(-1, None) if span < 0 else slice(0, 1) for span in spans)]
    length = 1 + sum(map(abs, spans))
    return np.lib.stride_tricks.as_strided(lowest, (length,), (a.itemsize,)), start
