"""Tasks for the workers of the process backend that real ones must never be: slow, failing and deadly."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def fill(piece: Array, rows: range, *, out: Array) -> None:
    out[...] = os.getpid()


def sleep(piece: Array, rows: range, *, out: Array, seconds: float) -> None:
    time.sleep(seconds)
    out[...] = 1


def spin(piece: Array, rows: range, *, out: Array) -> None:
    """Compute for ever, without a pause."""
    while True:
        np.dot(piece, piece)


def fail(piece: Array, rows: range, *, out: Array, kind: type[Exception]) -> None:
    """Only worker 0 fails; the others end as usual."""
    out[...] = 0
    if rows.start == 0:
        raise kind("from the task")


def die(piece: Array, rows: range, *, out: Array, how: str) -> None:
    """Worker 1 dies; the others would take very long."""
    if rows.start == 0:
        time.sleep(60)
    if how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "SIGSEGV":
        ctypes.string_at(0)
    os._exit(7)
