"""What this host can do, measured: for now how fast it reads memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from . import _kernels
from .workers import default_workers

__all__ = ["free_memory", "last_level_cache", "read_bandwidth"]

CPUS = Path("/sys/devices/system/cpu")
MEMINFO = Path("/proc/meminfo")
CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)

LEAST_BUFFER = 256 << 20  # bytes
USUAL_CACHE = 32 << 20  # bytes; where the system does not say
SECONDS = 0.6  # to spend reading
PASSES = range(5, 51)


def read_bandwidth(workers: int | None = None) -> float:
    """How fast this host reads memory, in bytes per second: the ceiling of every matrix-vector product.

    The median of several passes over a buffer that no cache can hold. Takes about a second.

    Parameters
    ----------
    workers : int, optional
        Threads that read. None: `parlinalg.default_workers`.
    """
    workers = default_workers() if workers is None else workers
    size = min(max(LEAST_BUFFER, 4 * last_level_cache()), free_memory() // 4)
    # Written, not only reserved: pages that nobody wrote to would all be the one page of zeros, which stays in cache.
    buffer = np.full(max(1, size // 8), 1, np.int64)
    passes: list[float] = []
    started = time.perf_counter()
    while len(passes) < PASSES.start or (len(passes) < PASSES.stop and time.perf_counter() - started < SECONDS):
        passes.append(_pass(buffer, workers))
    return buffer.nbytes / float(np.median(passes))


def _pass(buffer: np.ndarray, workers: int) -> float:
    start = time.perf_counter()
    _kernels.read(buffer, workers)
    return time.perf_counter() - start


def last_level_cache() -> int:
    """Bytes of last-level cache of all processors together."""
    caches: dict[int, dict[str, int]] = {}
    for index in CPUS.glob("cpu[0-9]*/cache/index[0-9]*"):
        try:
            level = int((index / "level").read_text())
            # The list of processors that share a cache tells one from another.
            shared = (index / "shared_cpu_list").read_text()
            caches.setdefault(level, {})[shared] = _size((index / "size").read_text().strip())
        except (OSError, ValueError):
            continue
    return sum(caches[max(caches)].values()) if caches else USUAL_CACHE


def _size(text: str) -> int:
    """Bytes that the kernel writes as ``32768K``."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text)


def free_memory() -> int:
    """Bytes that can be allocated now: the least that the system and the container's limits leave."""
    left = [_free_on_host()]
    for limit, used in CGROUPS:
        try:
            left.append(int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
    return max(0, min(left))


def _free_on_host() -> int:
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
