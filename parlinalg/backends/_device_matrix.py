"""A matrix for products in one dtype on an OpenCL device: kept there, or sent there for each product."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..operands import is_there
from ._base import Array
from ._device import PAIRS, Device
from ._device_products import Block, Pending
from ._pairs import exponent_of, join, split
from ._shared import compact

__all__ = ["Kept", "Matrix", "Sent", "on_device"]

SENT_AT_A_TIME = 64 << 20  # bytes: few enough for the first block to come soon, and enough to be worth a transfer
LANES = 2  # one computes while the other is filled


class Matrix(ABC):
    """Blocks of rows of a matrix.

    Parameters
    ----------
    device : Device
    dtype : dtype
        Of the products.
    rows : sequence of slice
        Of each block.
    exponent : int array, shape (..., 1, 1), optional
        With which the elements of each matrix were split into pairs; None: they were not.
    """

    def __init__(self, device: Device, dtype: np.dtype, rows: Sequence[slice], exponent: Any = None) -> None:
        self.device = device
        self.dtype = dtype
        self.rows = rows
        self.exponent = exponent

    @abstractmethod
    def block(self, number: int) -> tuple[Any, Block]:
        """One block, and the queue that it is to be used in."""

    def close(self) -> None:  # noqa: B027  most need not wait
        """Wait for products that are on their way."""

    def multiply(self, x: Array, out: Array, *, transposed: bool) -> None:
        """Write ``A @ x`` or ``x @ A`` into `out`; x has its leading dimensions."""
        exponent = None if self.exponent is None else exponent_of(x, -1)
        vectors = np.ascontiguousarray(x.astype(self.dtype, copy=False) if exponent is None else split(x, exponent))
        if vectors.__array_interface__["data"][0] % vectors.itemsize:  # complex numbers are vectors to OpenCL
            vectors = vectors.copy()
        adds = transposed and len(self.rows) > 1
        total = np.zeros(out.shape if adds else (), self.dtype)
        for rows, pending in self._queued(vectors, transposed):
            y = pending.wait()
            if exponent is not None:
                y = join(y, exponent + self.exponent[..., 0])
            if adds:
                total += y
            else:
                out[... if transposed else (..., rows)] = y
        if adds:
            out[...] = total

    def _queued(self, x: Array, transposed: bool) -> Iterator[tuple[slice, Pending]]:
        """The product with each block; the next one is on its way already."""
        before: tuple[slice, Pending] | None = None
        for number, rows in enumerate(self.rows):
            queue, block = self.block(number)
            if transposed:
                pending = block.transpose().start(np.ascontiguousarray(x[..., rows]), queue)
            else:
                pending = block.start(x, queue)
            if before is not None:
                yield before
            before = rows, pending
        if before is not None:
            yield before


class Kept(Matrix):
    """In buffers of the device."""

    def __init__(
        self,
        device: Device,
        dtype: np.dtype,
        rows: Sequence[slice],
        blocks: Sequence[Block],
        exponent: Array | None = None,
    ) -> None:
        super().__init__(device, dtype, rows, exponent)
        self.blocks = blocks
        self._like: dict[
            bool, Any
        ] = {}  # a result of each product: pyopencl makes others from it in a fifth of the time
        self._runs_on = False  # whether the device may still read memory of the host

    def block(self, number: int) -> tuple[Any, Block]:
        return self.device.queue, self.blocks[number]

    def multiply_there(self, x: Any, *, transposed: bool) -> Any:
        """The same for an array of pyopencl, which may be returned before it is computed."""
        import pyopencl.array

        device = self.device
        self._runs_on = device.is_processor and isinstance(self.blocks[0].used, np.ndarray)
        vector = x if x.strides == (x.dtype.itemsize,) and not x.offset else device.copy_there(x)
        if transposed not in self._like:
            shape = sum(block.shape[-2] for block in self.blocks), self.blocks[0].shape[-1]
            self._like[transposed] = pyopencl.array.empty(device.queue, shape[transposed], self.dtype)
        y = pyopencl.array.empty_like(self._like[transposed])
        if y.size == 0:
            return y
        if len(self.blocks) == 1:
            block = self.blocks[0].transpose() if transposed else self.blocks[0]
            y.add_event(block.launch(device.queue, vector.data, y.data, wait_for=vector.events))
            return y
        self._multiply_blocks(vector, y, transposed)
        return y

    def _multiply_blocks(self, vector: Any, y: Any, transposed: bool) -> None:
        """The same, where the matrix is in several."""
        import pyopencl.array

        device, length = self.device, y.shape[0]
        blocks = [block.transpose() for block in self.blocks] if transposed else self.blocks
        parts = pyopencl.array.empty(device.queue, (len(blocks), length), self.dtype) if transposed else y
        for number, (rows, block) in enumerate(zip(self.rows, blocks, strict=True)):
            own = vector[rows].copy(queue=device.queue) if transposed else vector
            part = device.empty(block.shape[-2] * self.dtype.itemsize)
            done = block.launch(device.queue, own.data, part, wait_for=vector.events + own.events)
            first = (number * length if transposed else rows.start) * self.dtype.itemsize
            parts.add_event(
                device.cl.enqueue_copy(
                    device.queue, parts.data, part, byte_count=part.size, dst_offset=first, wait_for=[done]
                )
            )
        if transposed:
            ones = pyopencl.array.to_device(device.queue, np.ones(len(blocks), self.dtype))
            adds = Block(device, parts.data, 0, (1, length), (length, len(blocks)), self.dtype.name)
            y.add_event(adds.launch(device.queue, ones.data, y.data, wait_for=parts.events))

    def close(self) -> None:
        if self._runs_on:
            with suppress(self.device.cl.Error):  # a device that failed computes no more
                self.device.queue.finish()  # on a processor, it reads memory that the caller may free now


class Sent(Matrix):
    """With the caller; sent in blocks, in turns through two queues, so that one is sent while another is used."""

    def __init__(self, device: Device, dtype: np.dtype, rows: Sequence[slice], A: Array, exponent: Any) -> None:
        super().__init__(device, dtype, rows, exponent)
        self._A = A
        size = max(A[..., one, :].size for one in rows) * dtype.itemsize
        queues = [device.cl.CommandQueue(device.context, device.opencl) for _ in range(LANES)]
        self._lanes = [(queue, device.empty(size)) for queue in queues]
        self._in_use = threading.Lock()

    def multiply(self, x: Array, out: Array, *, transposed: bool) -> None:
        with self._in_use:  # the lanes belong to one product at a time
            super().multiply(x, out, transposed=transposed)

    def block(self, number: int) -> tuple[Any, Block]:
        queue, room = self._lanes[number % LANES]
        part, name = _ready(self._A[..., self.rows[number], :], self.dtype, self.exponent)
        return queue, Block.send(self.device, part, name, queue, room)


def on_device(device: Device, A: Any, dtype: np.dtype, *, emulates: bool = False) -> Matrix:
    """A matrix for products in `dtype`: in one buffer, in several, or sent each time, as it fits.

    Parameters
    ----------
    A : ndarray, shape (..., m, n), or pyopencl.array.Array, shape (m, n)
    dtype : dtype
        Of the product.
    emulates : bool
        Whether float64 are to be pairs of float32.
    """
    if is_there(A):
        if A.dtype != dtype or (emulates and dtype == np.float64):
            return on_device(device, A.get(), dtype, emulates=emulates)
        if any(one % dtype.itemsize for one in (A.offset, *A.strides)):
            A = device.copy_there(A)
        A.finish()
        strides = tuple(stride // dtype.itemsize for stride in A.strides)
        block = Block(device, A.base_data, A.offset // dtype.itemsize, strides, A.shape, dtype.name, A)
        return Kept(device, dtype, [slice(0, A.shape[0])], [block])
    exponent = exponent_of(A, (-2, -1)) if emulates and dtype == np.float64 else None
    whole = A.size * dtype.itemsize
    if device.is_processor or whole <= device.room():
        rows = list(_cut(A, dtype.itemsize, device.largest))
        ready = (_ready(A[..., one, :], dtype, exponent) for one in rows)
        kept = Kept(device, dtype, rows, [Block.place(device, part, name) for part, name in ready], exponent)
        device.count(kept, whole)
        return kept
    room = min(device.largest, device.room() // (LANES + 1), SENT_AT_A_TIME)
    return Sent(device, dtype, list(_cut(A, dtype.itemsize, room)), A, exponent)


def _ready(A: Array, dtype: np.dtype, exponent: Array | None) -> tuple[Array, str]:
    """Rows as they are sent, and what the kernels are built for."""
    cast = A
    if A.dtype.newbyteorder("=") != dtype:
        cast = np.broadcast_to(compact(A).astype(dtype, order="K"), A.shape)
    return (cast, dtype.name) if exponent is None else (split(cast, exponent), PAIRS)


def _cut(A: Array, itemsize: int, most: int) -> Iterator[slice]:
    """Ranges of rows, of at most `most` bytes, or of one row."""
    rows, row = A.shape[-2], A[..., :1, :].size * itemsize
    step = max(1, min(rows, most // max(1, row)))
    return (slice(first, first + step) for first in range(0, max(1, rows), step))
