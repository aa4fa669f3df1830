"""How long calls take while every processor is busy with other programs, beside NumPy's.

    python docs/measurements/busy.py [--quick]

As many programs as there are processors compute without end. A line for each call: median and 99th percentile of both,
while nothing else runs and while all is busy.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import parlinalg

Call = Callable[[], Any]
CALLS = 2000
LONGEST = 4.0  # seconds that the calls of one contender may take


def calls() -> Iterator[tuple[str, Call, Call]]:
    """Name, by parlinalg, by NumPy."""
    rng = np.random.default_rng(0)
    for n in (16, 64, 256, 1000):
        A, x = rng.standard_normal((n, n)), rng.standard_normal(n)
        yield f"matvec {n} x {n}", lambda A=A, x=x: parlinalg.matvec(A, x), lambda A=A, x=x: np.matvec(A, x)
    for n in (100, 10_000, 1_000_000):
        a = rng.standard_normal(n)
        yield f"psum {n:,}", lambda a=a: parlinalg.psum(a), lambda a=a: np.sum(a)


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """So many programs that compute meanwhile."""
    command = [sys.executable, "-c", "print('up', flush=True)\nwhile True: pass"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(programs)]
    try:
        for one in running:
            assert one.stdout is not None
            one.stdout.readline()
        yield
    finally:
        for one in running:
            one.kill()
            one.communicate()


def seconds_of(call: Call, most: int) -> np.ndarray:
    """Of each of many calls."""
    found: list[float] = []
    began = time.perf_counter()
    while len(found) < most and time.perf_counter() - began < LONGEST:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return np.array(found)


def measure(programs: int, most: int) -> None:
    """Print a line for each call."""
    with busy(programs):
        for name, ours, numpys in calls():
            line = f"{programs} programs  {name:20}"
            for who, call in (("parlinalg", ours), ("numpy", numpys)):
                call()
                seconds = 1e6 * seconds_of(call, most)
                middle, late = np.percentile(seconds, [50, 99])
                line += f"  {who} {middle:8.1f} us, 99 % within {late:8.1f} us"
            print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few calls")
    arguments = parser.parse_args()
    for programs in (0, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1):
        measure(programs, CALLS // 100 if arguments.quick else CALLS)


if __name__ == "__main__":
    main()
