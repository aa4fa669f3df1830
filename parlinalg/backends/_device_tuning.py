"""How work is best given to an OpenCL device, found by trying."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np

from ..errors import BackendError
from ._device import Device, Settings
from ._device_choice import all_devices
from ._device_matrix import Kept, on_device

__all__ = ["tuned_devices"]

SHAPE = 2048, 2048  # of float32: 16 MiB
TRIES = 7
NO_GAIN = 0.97  # of the time; what does not save more stays as it is
FOR_PROCESSORS = {"ranges_per_unit": (32, 64, 128, 512)}
FOR_OTHERS = {"group": (32, 64, 256, 512), "groups_per_unit": (8, 16, 64), "rows_side_by_side": (8, 16, 64)}


def tuned_devices() -> dict[str, dict[str, int]]:
    """The settings of every device that is here, by what `Device.key` says."""
    found = {}
    for one in all_devices():
        with suppress(BackendError, MemoryError):  # one that fails keeps what is usual
            device = Device(one)
            with device.usable():
                found[device.key] = tuned(device)._asdict()
    return found


def tuned(device: Device) -> Settings:
    """The best of some, one after the other: group sizes are powers of two that the device can have."""
    device.settings = best = Settings.of(device.opencl)
    fastest = _seconds(device)
    for name, values in (FOR_PROCESSORS if device.is_processor else FOR_OTHERS).items():
        for value in values:
            tried = best._replace(**{name: value})
            if tried.group > device.opencl.max_work_group_size or tried.rows_side_by_side > tried.group:
                continue
            device.settings = tried
            seconds = _seconds(device)
            if seconds < NO_GAIN * fastest:
                fastest, best = seconds, tried
    device.settings = best
    return best


def _seconds(device: Device) -> float:
    """Of the products of a matrix that lies by rows and of one that lies by columns."""
    A = np.ones(SHAPE, np.float32)
    x = device.buffer(A[0].copy())
    y = device.empty(A[0].nbytes)
    total = 0.0
    for matrix in (A, A.T):
        placed = on_device(device, matrix, A.dtype)
        assert isinstance(placed, Kept)
        seconds = []
        for _ in range(TRIES):
            start = time.perf_counter()
            placed.blocks[0].launch(device.queue, x, y).wait()
            seconds.append(time.perf_counter() - start)
        total += float(np.median(seconds))
    return total
