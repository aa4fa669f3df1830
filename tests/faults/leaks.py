"""Leaks: ``python leaks.py BACKEND CALLS [SEED]``: descriptors, threads, children, files and memory do not grow."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import psutil

import parlinalg as pla

WARM_UP = 0.1  # of the calls
LEAST_WARM_UP = 150  # calls
MOST_GROWTH = 1 << 20  # bytes of resident memory

A = np.random.default_rng(0).standard_normal((64, 48))
X = A[0].copy()
_kept: list[bytes] = []


def counts() -> dict[str, int]:
    """What must not grow."""
    process = psutil.Process()
    return {
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "children": len(process.children(recursive=True)),
        "files": len(list(Path("/dev/shm").glob("*parlinalg*"))),
    }


def resident() -> int:
    """Bytes that are this process's own."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def call(backend: str, seeded: str) -> None:
    """One of everything."""
    pla.psum(A, backend=backend)
    pla.matvec(A, X, backend=backend)
    with pla.operator(A, backend=backend) as op:
        op @ X
    if seeded == "memory":
        _kept.append(bytes(4096))
    if seeded == "descriptors":
        os.dup(0)


def main(backend: str, calls: int, seeded: str = "") -> None:
    """Raise if anything grows."""
    for _ in range(max(LEAST_WARM_UP, int(calls * WARM_UP))):
        call(backend, seeded)
    before, size = counts(), resident()
    for _ in range(calls):
        call(backend, seeded)
    after, growth = counts(), resident() - size
    grown = {name: (one, after[name]) for name, one in before.items() if after[name] > one}
    assert not grown, f"grown: {grown}"
    assert growth < MOST_GROWTH, f"{growth} bytes of memory more after {calls} calls"
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
