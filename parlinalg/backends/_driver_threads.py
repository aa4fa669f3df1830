"""The threads that a driver for the processor starts: one on each processor."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["spread", "threads"]

FOLDER = "/proc/self/task"


def threads() -> set[int]:
    """Numbers of those of this process; empty elsewhere than on Linux."""
    return set(map(int, os.listdir(FOLDER))) if os.path.isdir(FOLDER) else set()


def spread(started: set[int]) -> None:
    """Keep each of these threads on a processor of its own, if they are as many as the processors that may be used.

    Linux wakes threads that wait for work where the caller runs, and lets two of them share that processor for a few
    milliseconds: products took twice as long. Otherwise the user limits the driver, or has threads of other kinds, and
    nothing is done.
    """
    processors = sorted(os.sched_getaffinity(0)) if started else []
    if len(started) != len(processors):
        return
    for thread, processor in zip(sorted(started), processors, strict=True):
        with suppress(OSError):  # one that has ended since
            os.sched_setaffinity(thread, {processor})
