"""A GPU, or any other device, through OpenCL."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact import report
from ..operands import is_there
from ..plan import MatvecPlan, SumPlan
from ._base import Array, Backend, DeviceResident, Resident
from ._device import Device
from ._device_choice import FORKED, find, require_queue
from ._device_exact import ExactMatrix
from ._device_matrix import Kept, Matrix, Sent, on_device
from ._device_sums import states_of, states_there
from ._device_tuning import tuned_devices
from ._vendors import REMEDY, missing

__all__ = ["OpenCL"]


class OpenCL(Backend):
    """A device through OpenCL: a GPU, an accelerator, or the processor.

    Parameters
    ----------
    device : str, int or pyopencl.Device, optional
        A part of its name, its number in ``parlinalg info``, or itself. None: what PYOPENCL_CTX says, otherwise a GPU
        before an accelerator before a processor, and of these the one with most memory.
    queue : pyopencl.CommandQueue, optional
        To use instead of one of its own.
    float64 : {"native", "emulate"}
        What to do on a device without float64: "native" refuses products of float64; "emulate" computes them in pairs
        of float32, with errors within ``n * 2**-44 * (abs(A) @ abs(x))``, if elements are not smaller than 2**-80 of
        the largest.

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

    def __init__(self, device: Any = None, *, queue: Any = None, float64: str = "native") -> None:
        if float64 not in ("native", "emulate"):
            raise ValueError(f"OpenCL: float64 is {float64!r}; it must be 'native' or 'emulate'")
        if device is not None and queue is not None:
            raise ValueError("OpenCL: both device and queue are given; a queue has a device already")
        self.device = Device(find(device)) if queue is None else Device(require_queue(queue).device, queue)
        self.emulates = float64 == "emulate" and not self.device.has_float64

    @classmethod
    def why_not(cls) -> str | None:
        if find_spec("pyopencl") is None:
            return f"the package pyopencl is not installed. {REMEDY}"
        return missing()

    @classmethod
    def version(cls) -> str:
        return f"pyopencl {version('pyopencl')}"

    @classmethod
    def tune_devices(cls) -> dict[str, dict[str, int]]:
        return tuned_devices()

    @property
    def device_name(self) -> str:  # type: ignore[override]
        return f"{self.device.name} ({self.device.platform})"

    def bandwidth(self) -> float | None:
        return None if self.device.is_processor else self.device.copy_bandwidth()

    def room(self) -> float:
        return inf if self.device.is_processor else self.device.room()

    def refuses(self, plan: MatvecPlan | SumPlan) -> str | None:
        if plan.dtype.char in "gG":
            return "no OpenCL device computes in longdouble. Cast the operands, for example to float64"
        if isinstance(plan, SumPlan) or plan.exact or plan.dtype.char not in "dD" or self.device.has_float64:
            return None
        if plan.dtype.char == "d" and self.emulates:
            return None
        remedy = "use exact=True" if plan.dtype.char == "D" else "use exact=True or OpenCL(float64='emulate')"
        return f"device {self.device.name!r} has no float64. Cast the operands to 32 bits, or {remedy}"

    def place(self, A: Array, workers: int) -> Resident:
        placed = PlacedArray(self.device, A, emulates=self.emulates)
        placed.put()
        return placed

    def matvec(self, A: Array, x: Array, out: Array, workers: int, *, exact: bool = False) -> None:
        with PlacedArray(self.device, A, emulates=self.emulates) as resident:  # put there in the dtype of `out` only
            resident.matvec(x, out, exact=exact)

    def sum_states(self, a: Array, kept: int, workers: int) -> NDArray[np.int64]:
        with self.device.usable():
            return states_there(self.device, a, kept) if is_there(a) else states_of(self.device, a, kept)


class PlacedArray(DeviceResident):
    """A matrix in the memory of a device; on a processor, where it lies.

    Matrices that are larger than a buffer can be are kept in several; those that do not fit into what is left of the
    device's memory stay with the caller, and are sent for each product, while the device computes with what came
    before.
    """

    def __init__(self, device: Device, A: Any, *, emulates: bool = False) -> None:
        self._device = device
        self._A = A
        self._emulates = emulates
        self._placements: dict[np.dtype, Matrix] = {}
        self._exact = ExactMatrix(device, A)
        with device.usable():
            pass

    def put(self) -> None:
        """Put it there as it is, if the device computes in its dtype, so that the caller may change it."""
        dtype = self._A.dtype.newbyteorder("=")
        with self._device.usable():
            if dtype.char not in "gG" and (
                self._device.has_float64 or dtype.char not in "dD" or (self._emulates and dtype.char == "d")
            ):
                self._placed(dtype)

    def matvec(self, x: Array, out: Array, *, exact: bool = False) -> None:
        with self._device.usable():
            if exact:
                report(self._exact.write(x, out, transposed=False))
                return
            vectors = np.broadcast_to(x, (*out.shape[:-1], x.shape[-1]))
            self._placed(out.dtype).multiply(vectors.astype(out.dtype, copy=False), out, transposed=False)

    def vecmat(self, x: Array, out: Array, *, exact: bool = False) -> None:
        with self._device.usable():
            if exact:
                report(self._exact.write(x.conj(), out, transposed=True))
                return
            self._placed_for_sums(out.dtype).multiply(x.conj().astype(out.dtype, copy=False), out, transposed=True)

    def matmat(self, X: Array, out: Array, *, exact: bool = False) -> None:
        if exact:
            super().matmat(X, out, exact=True)
        else:
            self.matvec(X.T, out.T)  # a batch of vectors

    def takes(self, x: object) -> bool:
        return is_there(x)

    def multiply_there(self, x: Any, transposed: bool) -> Any:
        device = self._device
        with device.usable():
            if x.context != device.context:
                raise ValueError(
                    "matvec: x belongs to another context than the operator; make that with "
                    "backend=OpenCL(queue=x.queue)"
                )
            placed = self._placed(x.dtype)
            if x.dtype == np.float16 and transposed and len(placed.rows) > 1:
                raise TypeError(
                    "matvec: the matrix is in several buffers, and float16 are added up in float32: pass x.get()"
                )
            if isinstance(placed, Kept) and placed.exponent is None:
                return placed.multiply_there(x, transposed=transposed)
        reason = "does not fit into the device's memory" if isinstance(placed, Sent) else "is in pairs of float32"
        raise TypeError(f"matvec: the matrix {reason}, and its product needs an array of NumPy: pass x.get()")

    def close(self) -> None:
        if FORKED.is_foreign():
            FORKED.keep(self._exact, self._placements)
            return
        self._exact.close()
        while self._placements:
            self._placements.popitem()[1].close()

    def _placed(self, dtype: np.dtype) -> Matrix:
        if dtype not in self._placements:
            self._placements[dtype] = on_device(self._device, self._A, dtype, emulates=self._emulates)
        return self._placements[dtype]

    def _placed_for_sums(self, dtype: np.dtype) -> Matrix:
        """Of products whose parts, of each block of rows, are added up."""
        placed = self._placed(dtype)
        several_halves = dtype == np.float16 and len(placed.rows) > 1  # each part would be rounded
        return self._placed(np.dtype(np.float32)) if several_halves else placed
