"""Leaks: ``python leaks.py BACKEND CALLS [SEED]``: descriptors, threads, children, files and memory do not grow.

Worker processes of this host are counted too.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

import parlinalg as pla

WARM_UP = 0.1  # of the calls
LEAST_WARM_UP = 150  # calls
MOST_GROWTH = 1 << 20  # bytes of resident memory

A = np.random.default_rng(0).standard_normal((64, 48))
X = A[0].copy()
PLACES = (Path("/dev/shm"), Path(tempfile.gettempdir()))
_kept: list[bytes] = []


def counts() -> dict[str, int]:
    """What must not grow."""
    process = psutil.Process()
    return {
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "children": len(children := process.children(recursive=True)),
        "descriptors of workers": sum(one.num_fds() for one in children if _is_worker(one)),
        "files": sum(len(list(place.glob("*parlinalg*"))) for place in PLACES),
    }


def resident() -> dict[int, int]:
    """Bytes in memory of this process, and of each worker process, by their pids."""
    gc.collect()
    processes = [psutil.Process(), *filter(_is_worker, psutil.Process().children(recursive=True))]
    return {one.pid: one.memory_info().rss for one in processes}


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "parlinalg.backends._worker" in process.cmdline()
    except psutil.Error:  # it has ended
        return False


def call(backend: str, seeded: str) -> None:
    """One of everything."""
    pla.psum(A, backend=backend)
    pla.matvec(A, X, backend=backend)
    with pla.operator(A, backend=backend) as op:
        op @ X
    SEEDS[seeded]()


SEEDS: dict[str, Callable[[], object]] = {
    "": lambda: None,
    "memory": lambda: _kept.append(bytes(4096)),
    "descriptors": lambda: os.dup(0),
    "threads": lambda: threading.Thread(target=time.sleep, args=(100,), daemon=True).start(),
    "children": lambda: subprocess.Popen(["sleep", "5"]),
    "files": lambda: tempfile.mkdtemp(prefix="parlinalg-seeded-"),
}


def main(backend: str, calls: int, seeded: str = "") -> None:
    """Raise if anything grows."""
    for _ in range(max(LEAST_WARM_UP, int(calls * WARM_UP))):
        call(backend, "")
    before, size = counts(), resident()
    for _ in range(calls):
        call(backend, seeded)
    after, growth = counts(), {pid: now - size.get(pid, 0) for pid, now in resident().items()}
    grown = {name: (one, after[name]) for name, one in before.items() if after[name] > one}
    assert not grown, f"grown: {grown}"
    assert max(growth.values()) < MOST_GROWTH, f"{growth} bytes of memory more after {calls} calls"
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
