"""Which OpenCL devices there are, and which one is used."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import BackendUnavailable
from ._forked import ForkGuard
from ._vendors import REMEDY, broken, register

if TYPE_CHECKING:
    import pyopencl

__all__ = ["FORKED", "all_devices", "describe", "find", "has_float64", "require_queue"]

FORKED = ForkGuard("backend 'opencl' cannot run in a process that was forked after OpenCL was used")
VARIABLE = "PYOPENCL_CTX"  # pyopencl's own: "platform:device", numbers or parts of names


def find(asked: Any) -> Any:
    """The device that the argument `device` stands for.

    Parameters
    ----------
    asked : None, int, str or pyopencl.Device
        None: what PYOPENCL_CTX says; otherwise a GPU before an accelerator before a processor, and of these the one
        with most memory. int: of all devices in the order of `describe`. str: a part of its name, or of its platform's.

    Raises
    ------
    BackendUnavailable
        If there is no device at all; it says what was missing.
    TypeError, ValueError
        If there is no such device; it says what there is.
    """
    FORKED.require()
    register()
    import pyopencl

    if isinstance(asked, pyopencl.Device):
        return asked
    devices = all_devices()
    if asked is None:
        return _of_variable() if VARIABLE in os.environ else max(devices, key=_preference)
    if isinstance(asked, str):
        return _named(asked, devices)
    index = _index(asked)
    if not 0 <= index < len(devices):
        raise ValueError(f"OpenCL: device is {asked}; there are {len(devices)}: {describe()}")
    return devices[index]


def _named(asked: str, devices: Sequence[Any]) -> Any:
    for device in devices if asked.strip() else ():
        if asked.lower() in f"{device.platform.name} {device.name}".lower():
            return device
    raise ValueError(f"OpenCL: device is {asked!r}; there are {describe()}")


def _index(asked: Any) -> int:
    if isinstance(asked, bool) or not hasattr(asked, "__index__"):
        raise TypeError(
            f"OpenCL: device is {asked!r}; it must be a part of a name, an index, a pyopencl.Device or None"
        )
    return operator.index(asked)


def _of_variable() -> Any:
    """What pyopencl chooses by PYOPENCL_CTX."""
    import pyopencl

    try:
        return pyopencl.create_some_context(interactive=False).devices[0]
    except (pyopencl.Error, ValueError, IndexError) as error:
        raise ValueError(
            f"OpenCL: the environment variable {VARIABLE} is {os.environ.get(VARIABLE)!r}: {error}; "
            f"there are {describe()}"
        ) from error


def require_queue(queue: Any) -> Any:
    """The argument `queue`, or `TypeError`."""
    FORKED.require()
    register()
    import pyopencl

    if not isinstance(queue, pyopencl.CommandQueue):
        raise TypeError(f"OpenCL: queue is {queue!r}; it must be a pyopencl.CommandQueue")
    return queue


def _preference(device: Any) -> tuple[int, bool, int]:
    """GPUs first; of drivers for processors, Intel's."""
    import pyopencl

    kinds = pyopencl.device_type
    order = [kinds.CPU, kinds.ACCELERATOR, kinds.GPU]
    rank = max((rank for rank, kind in enumerate(order) if device.type & kind), default=-1)
    return rank, rank == 0 and "Intel" in device.platform.name, device.global_mem_size


def has_float64(device: Any) -> bool:
    """Whether it computes in float64: before OpenCL 1.2, that was an extension."""
    return "cl_khr_fp64" in device.extensions.split() or bool(device.double_fp_config)


def all_devices() -> list[pyopencl.Device]:
    """Every device of every platform.

    Raises
    ------
    BackendUnavailable
        If there is none.
    """
    FORKED.enter()
    register()
    import pyopencl

    try:
        platforms = pyopencl.get_platforms()
    except pyopencl.Error as error:
        raise BackendUnavailable(
            f"backend 'opencl' cannot run here: no platform was found ({'; '.join([str(error), *broken()])}). {REMEDY}"
        ) from error
    devices = [device for platform in platforms for device in _devices_of(platform)]
    if not devices:
        names = ", ".join(platform.name for platform in platforms) or "none"
        raise BackendUnavailable(f"backend 'opencl' cannot run here: the platforms ({names}) have no device. {REMEDY}")
    return devices


def _devices_of(platform: Any) -> Sequence[Any]:
    import pyopencl

    try:
        devices: Sequence[Any] = platform.get_devices()
    except pyopencl.Error:  # a driver without its hardware
        return []
    return devices


def _kind(device: Any) -> str:
    import pyopencl

    kinds = pyopencl.device_type
    names = {kinds.GPU: "GPU", kinds.ACCELERATOR: "accelerator", kinds.CPU: "processor"}
    return next((name for kind, name in names.items() if device.type & kind), "device")


@cache
def describe() -> tuple[str, ...]:
    """A line for each device."""

    return tuple(
        f"{index}: {device.name.strip()} ({_kind(device)}, {device.platform.name}, "
        f"{device.max_compute_units} units, {device.global_mem_size / 2**30:.1f} GiB, "
        f"{'with' if has_float64(device) else 'without'} float64, driver {device.driver_version})"
        for index, device in enumerate(all_devices())
    )
