"""A GPU, or any other device, through OpenCL."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact import digits, report
from ..plan import MatvecPlan, SumPlan
from ._base import Array, Backend, Resident
from ._device import RANGES_PER_UNIT, REMEDY, Device, find
from ._device_sums import row_states, write_exactly
from ._shared import compact

__all__ = ["OpenCL"]

GROUP = 128  # work items of a group, on other devices
SIDE_BY_SIDE = 32  # rows that a group takes, where columns are contiguous
GROUPS = 32  # that one of their compute units has to choose from


class OpenCL(Backend):
    """A device through OpenCL: a GPU, an accelerator, or the processor.

    Parameters
    ----------
    device : str, int or pyopencl.Device, optional
        A part of its name, its number in ``parlinalg info``, or itself. None: what PYOPENCL_CTX says, otherwise a GPU
        before an accelerator before a processor, and of these the one with most memory.
    queue : pyopencl.CommandQueue, optional
        To use instead of one of its own.

    Raises
    ------
    BackendUnavailable
        If there is no device.
    TypeError, ValueError
        If there is no such device, or both are given.
    """

    name = "opencl"
    capacity = 1
    workers = 1
    exact_products = True

    def __init__(self, device: Any = None, *, queue: Any = None) -> None:
        if device is not None and queue is not None:
            raise ValueError("OpenCL: both device and queue are given; a queue has a device already")
        self.device = Device(find(device)) if queue is None else Device(queue.device, queue)

    @classmethod
    def why_not(cls) -> str | None:
        if find_spec("pyopencl") is None:
            return f"the package pyopencl is not installed. {REMEDY}"
        return None

    @classmethod
    def version(cls) -> str:
        return f"pyopencl {version('pyopencl')}"

    def refuses(self, plan: MatvecPlan | SumPlan) -> str | None:
        if plan.dtype.char in "gG":
            return "no OpenCL device computes in longdouble. Cast the operands, for example to float64"
        if isinstance(plan, MatvecPlan) and plan.dtype.char in "dD" and not plan.exact and not self.device.has_float64:
            return f"device {self.device.name!r} has no float64. Cast the operands to float32, or use exact=True"
        return None

    def place(self, A: Array, workers: int) -> Resident:
        return PlacedArray(self.device, A)

    def sum_states(self, a: Array, kept: int, workers: int) -> NDArray[np.int64]:
        self.device.require_usable()
        rows, n = prod(a.shape[:kept]), prod(a.shape[kept:])
        contiguous = np.ascontiguousarray(a, a.dtype.newbyteorder("=")).reshape(rows, n)
        return row_states(self.device, contiguous, digits(a.dtype)).reshape(*a.shape[:kept], digits(a.dtype))


class PlacedArray(Resident):
    """A matrix in the memory of a device; on a processor, where it lies.

    Matrices that are larger than a buffer can be are kept in several; those that are larger than the memory of the
    device stay with the caller, and are sent for each product.
    """

    def __init__(self, device: Device, A: Array) -> None:
        device.require_usable()
        self._device = device
        self._A = A
        self._blocks: dict[np.dtype, list[tuple[slice, Block]]] = {}

    def matvec(self, x: Array, out: Array, *, exact: bool = False) -> None:
        self._device.require_usable()
        if exact:
            report(write_exactly(self._device, self._A, x, out))
            return
        dtype = out.dtype
        vectors = np.broadcast_to(x, (*out.shape[:-1], x.shape[-1])).astype(dtype)
        for rows, block in self._placed(dtype):
            block.multiply(vectors, out[..., rows])

    def vecmat(self, x: Array, out: Array, *, exact: bool = False) -> None:
        self._device.require_usable()
        if exact:
            report(write_exactly(self._device, self._A.T, x.conj(), out))
            return
        factor = x.conj().astype(out.dtype)
        wide = np.dtype(np.float32) if out.dtype == np.float16 else out.dtype
        total = np.zeros(out.shape, wide)
        for rows, block in self._placed(out.dtype):
            part = np.empty(out.shape, out.dtype)
            block.transpose().multiply(factor[rows], part)
            total += part
        out[...] = total

    def takes(self, x: object) -> bool:
        return type(x).__module__ == "pyopencl.array"

    def multiply_there(self, x: Any, transposed: bool) -> Any:
        import pyopencl.array

        device = self._device
        device.require_usable()
        if x.context != device.context:
            raise ValueError(
                "matvec: x belongs to another context than the operator; make that with backend=OpenCL(queue=x.queue)"
            )
        blocks = self._placed(x.dtype)
        if transposed and len(blocks) > 1:
            raise TypeError(
                "matvec: the matrix is in several buffers; its transpose needs an array of NumPy: pass x.get()"
            )
        vector = x if x.flags.forc and not x.offset else x.copy(queue=device.queue)
        y = pyopencl.array.empty(device.queue, self._A.shape[-1 if transposed else -2], x.dtype)
        for rows, block in blocks:
            if len(blocks) == 1:
                (block.transpose() if transposed else block).multiply_there(vector, y)
            else:
                part = pyopencl.array.empty(device.queue, len(range(len(y))[rows]), x.dtype)
                block.multiply_there(vector, part)
                start = rows.start * x.dtype.itemsize
                copied = device.cl.enqueue_copy(
                    device.queue, y.data, part.data, byte_count=part.nbytes, dst_offset=start, wait_for=part.events
                )
                y.add_event(copied)
        return y

    def close(self) -> None:
        self._blocks.clear()

    def _placed(self, dtype: np.dtype) -> list[tuple[slice, Block]]:
        """The blocks of rows, on the device if they fit into it; cast to `dtype`."""
        if dtype in self._blocks:
            return self._blocks[dtype]
        A = self._A
        row = max(1, prod(A.shape[:-2]) * A.shape[-1] * dtype.itemsize)
        step = max(1, min(A.shape[-2], self._device.largest // row))
        blocks = [slice(first, first + step) for first in range(0, max(1, A.shape[-2]), step)]
        made = [(rows, Block(self._device, A[..., rows, :], dtype)) for rows in blocks]
        if self._device.is_processor or A.shape[-2] * row <= self._device.memory:
            self._blocks[dtype] = made
        return made


class Block:
    """Rows of a matrix as one buffer, made when it is used first.

    Parameters
    ----------
    device : Device
    A : shape (..., rows, columns)
    dtype : dtype
        To compute in.
    """

    def __init__(self, device: Device, A: Array, dtype: np.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._strided = strided = _uploadable(A, dtype)
        self._memory, first = _memory_of(strided)
        self._buffer, start = device.aligned_buffer(self._memory)
        self._start = start + first

    def transpose(self) -> Block:
        """The transpose, of the same buffer."""
        other = object.__new__(Block)
        vars(other).update(vars(self), _strided=self._strided.mT)
        return other

    def multiply(self, x: Array, out: Array) -> None:
        """Write ``A @ x`` into `out`, batch by batch."""
        device, dtype, strided = self._device, self._dtype, self._strided
        m, n = strided.shape[-2:]
        if out.size == 0:
            return
        matrices = np.broadcast_to(strided, (*out.shape[:-1], m, n))
        *steps, row_stride, column_stride = (stride // dtype.itemsize for stride in matrices.strides)
        y = np.empty(m, dtype)
        y_buffer = device.empty(y.nbytes)
        for index in np.ndindex(out.shape[:-1]):
            offset = self._start + sum(i * step for i, step in zip(index, steps, strict=True))
            vector = device.buffer(np.ascontiguousarray(x[index]))
            launch(device, dtype, self._buffer, (offset, m, n, row_stride, column_stride), vector, y_buffer)
            device.cl.enqueue_copy(device.queue, y, y_buffer)
            out[index] = y

    def multiply_there(self, x: Any, y: Any) -> None:
        """Queue ``A @ x``, for arrays of the device; y has the event to wait for."""
        m, n = self._strided.shape[-2:]
        strides = (stride // self._dtype.itemsize for stride in self._strided.strides[-2:])
        if m:
            sizes = (self._start, m, n, *strides)
            y.add_event(launch(self._device, self._dtype, self._buffer, sizes, x.data, y.data, x.events + y.events))


def launch(
    device: Device, dtype: np.dtype, A: Any, sizes: tuple[int, ...], x: Any, y: Any, wait_for: Any = None
) -> Any:
    """Queue the kernel that suits the device and the strides; return its event."""
    offset, m, n, row_stride, column_stride = map(np.int64, sizes)
    vectors = dtype.name in ("float32", "float64", "int64", "uint64", "int32", "uint32")
    strides: tuple[Any, ...] = (row_stride, column_stride)
    rest: tuple[Any, ...] = ()
    if device.is_processor:
        name, size, group = "rows_in_order", min(int(m), RANGES_PER_UNIT * device.units), 1
        if vectors and column_stride == 1:
            name, strides = "contiguous_rows_in_order", (row_stride,)
        elif vectors and row_stride == 1:
            name, strides = "contiguous_columns_in_order", (column_stride,)
    else:
        rest = (device.cl.LocalMemory(GROUP * max(dtype.itemsize, 4)),)
        group, groups = GROUP, GROUPS * device.units
        if abs(row_stride) < abs(column_stride):
            name, size, rest = (
                "group_per_rows",
                min(groups, -(-int(m) // SIDE_BY_SIDE)),
                (*rest, np.int32(SIDE_BY_SIDE)),
            )
        else:
            name, size = "group_per_row", min(groups, int(m))
    kernel = device.products(dtype, name)
    arguments = A, offset, m, n, *strides, x, y, *rest
    return kernel(device.queue, (size * group,), (group,), *arguments, wait_for=wait_for)


def _uploadable(A: Array, dtype: np.dtype) -> Array:
    """`A` in this dtype, aligned, with strides that count whole elements; itself where it is so."""
    distinct = compact(A)
    address = A.__array_interface__["data"][0]
    whole = all(step % dtype.itemsize == 0 for step in (address, *A.strides))  # complex numbers are vectors to OpenCL
    if A.dtype != dtype or not A.dtype.isnative or not whole:
        distinct = distinct.astype(dtype, order="K")
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
