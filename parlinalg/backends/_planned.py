"""Backends that this version names but does not have yet: they can never run, and say so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendUnavailable
from ._base import Array, Backend, Resident

__all__ = ["OpenCL"]


class Planned(Backend):
    """A name with a reason. Dispatch asks `why_not` first, so nothing else is ever called."""

    instead: str

    @classmethod
    def why_not(cls) -> str | None:
        return f"this version of parlinalg does not have it yet. Use backend={cls.instead!r}"

    def place(self, A: Array, workers: int) -> Resident:
        raise BackendUnavailable(f"backend {self.name!r} cannot run here: {self.why_not()}")

    def sum_states(self, a: Array, kept: int, workers: int) -> NDArray[np.int64]:
        raise BackendUnavailable(f"backend {self.name!r} cannot run here: {self.why_not()}")


class OpenCL(Planned):
    name = "opencl"
    instead = "openmp"
