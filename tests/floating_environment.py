"""What other libraries leave behind in a thread: flush-to-zero, or another rounding mode."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MODES = {
    "flush to zero": 0x1F80 | 0x8040,  # and subnormal operands are zero
    "round down": 0x1F80 | 0x2000,
    "round up": 0x1F80 | 0x4000,
    "round towards zero": 0x1F80 | 0x6000,
    "round to nearest": 0x1F80,
}
CONTROL = 28  # bytes before MXCSR in glibc's fenv_t of x86-64
BITS = 0xFFC0  # without the flags of what has happened


def why_not() -> str | None:
    """None, or why the environment cannot be set here."""
    if sys.platform == "linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc":
        return None
    return "the floating-point environment can be set on x86-64 with glibc only"


def control() -> int:
    """The control bits of this thread."""
    state = ctypes.create_string_buffer(32)
    ctypes.CDLL("libm.so.6").fegetenv(state)
    return int.from_bytes(state.raw[CONTROL:], "little") & BITS


@contextmanager
def environment(mode: str) -> Iterator[None]:
    """This thread in one of `MODES`, until the end of the block."""
    libm = ctypes.CDLL("libm.so.6")
    before = ctypes.create_string_buffer(32)
    libm.fegetenv(before)
    libm.fesetenv(ctypes.create_string_buffer(before.raw[:CONTROL] + MODES[mode].to_bytes(4, "little"), 32))
    try:
        yield
    finally:
        libm.fesetenv(before)
