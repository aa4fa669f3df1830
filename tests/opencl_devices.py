"""OpenCL devices for tests: those that are here, and one that only says that it is a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from parlinalg.backends import OpenCL
from parlinalg.registry import backend_class

if backend_class("opencl").why_not() is not None:
    pytest.skip(f"backend 'opencl' cannot run here: {backend_class('opencl').why_not()}", allow_module_level=True)

import pyopencl
import pyopencl.array

from parlinalg.backends._device import Device
from parlinalg.backends._device_choice import all_devices, find

__all__ = ["DEVICES", "A", "Pretended", "X", "as_gpu", "pyopencl"]

DEVICES = all_devices()
A = np.random.default_rng(0).standard_normal((70, 50))
X = A[0].copy()


class Pretended(Device):
    """A processor that says that it is a GPU, so that the kernels of GPUs run here."""

    def __init__(self) -> None:
        super().__init__(find(None))
        self.is_processor = False


def as_gpu() -> OpenCL:
    backend = OpenCL()
    backend.device = Pretended()
    return backend
