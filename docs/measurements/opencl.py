"""How fast products and sums are on every OpenCL device, beside threads, and beside CuPy where it is.

    python docs/measurements/opencl.py [--quick] [--sizes 4000,10000] [--sum 10000000]

With the matrix and vectors in place, on a GPU in its own memory. Contenders take turns, each warmed up; medians. Of
products, one that is waited for, and several that are queued before the last one is. On a GPU, the share of the
bandwidth of its copies. The last lines are what a call costs besides: of a 16 x 16 product whose vectors are on the
device, until it is queued.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pyopencl.array

import parlinalg
from parlinalg.backends import OpenCL
from parlinalg.backends._device_choice import all_devices

ROUNDS = 9
QUEUED = 8  # products at a time
CALLS = 2000  # of the smallest product


def medians(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            time.sleep(0.05)
            call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(of_one)) for name, of_one in times.items()}


def products_there(backend: OpenCL, A: np.ndarray, x: np.ndarray) -> Callable[[int], Any]:
    """A call that ends when the device has computed so many."""
    op, queue = parlinalg.operator(A, backend=backend), backend.device.queue
    vector = pyopencl.array.to_device(queue, x)
    return lambda number: ([op.matvec(vector) for _ in range(number)], queue.finish())


def by_openmp(A: np.ndarray, x: np.ndarray) -> Callable[[int], Any]:
    """The same by threads."""
    return lambda number: [parlinalg.matvec(A, x, backend="openmp") for _ in range(number)]


def with_cupy(A: np.ndarray, x: np.ndarray) -> dict[str, Callable[[int], Any]]:
    """The products by CuPy, where that is installed."""
    with suppress(ImportError):
        import cupy

        B, z = cupy.asarray(A), cupy.asarray(x)
        return {"CuPy": lambda number: ([B @ z for _ in range(number)], cupy.cuda.Stream.null.synchronize())}
    return {}


def overhead(backend: OpenCL) -> float:
    """Seconds until a small product is queued."""
    x = pyopencl.array.to_device(backend.device.queue, np.ones(16, np.float32))
    with parlinalg.operator(np.ones((16, 16), np.float32), backend=backend) as op:
        for _ in range(CALLS // 10):
            op.matvec(x)
        backend.device.queue.finish()
        start = time.perf_counter()
        for _ in range(CALLS):
            op.matvec(x)
        return (time.perf_counter() - start) / CALLS


def show(title: str, seconds: dict[str, float], nbytes: int, bandwidths: dict[str, float]) -> None:
    """Print a line for each contender."""
    for name, one in seconds.items():
        rate = nbytes / one
        share = f", {rate / bandwidths[name]:.0%} of copies" if name in bandwidths else ""
        ratio = seconds["openmp"] / one
        print(f"{title:34} {name:62} {one * 1e3:9.3f} ms {rate / 1e9:7.1f} GB/s, {ratio:.2f} x openmp{share}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", help="of square matrices; by default 4000,10000, or 16384,32768 where there is a GPU"
    )
    parser.add_argument("--sum", type=int, help="numbers to add up; by default 1e7, or 1e9 where there is a GPU")
    parser.add_argument("--quick", action="store_true", help="one small size, and few rounds")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else ROUNDS
    backends = {f"{one.platform.name}, {one.name.strip()}": OpenCL(one) for one in all_devices()}
    has_gpu = not all(one.device.is_processor for one in backends.values())
    usual = "400" if arguments.quick else "16384,32768" if has_gpu else "4000,10000"
    sizes = [int(one) for one in (arguments.sizes or usual).split(",")]
    length = arguments.sum or (10**5 if arguments.quick else 10**9 if has_gpu else 10**7)
    bandwidths = {name: rate for name, one in backends.items() if (rate := one.bandwidth())}
    for name, rate in bandwidths.items():
        print(f"{name}: copies at {rate / 1e9:.1f} GB/s, read and written")
    rng = np.random.default_rng(0)
    for dtype in ("float64", "float32"):
        for n in sizes:
            A = rng.random((n, n), dtype)
            x = A[0].copy()
            products = {"openmp": by_openmp(A, x)}
            products |= {name: products_there(backend, A, x) for name, backend in backends.items()}
            products |= with_cupy(A, x)
            for number in (1, QUEUED):
                title = f"{dtype}, {n} x {n}" + f", {number} queued" * (number > 1)
                calls = {name: partial(call, number) for name, call in products.items()}
                show(title, medians(calls, rounds), number * A.nbytes, bandwidths)
        a = rng.random(length, dtype)
        sums: dict[str, Callable[[], Any]] = {"openmp": partial(parlinalg.psum, a, backend="openmp")}
        for name, backend in backends.items():
            there = a if backend.device.is_processor else pyopencl.array.to_device(backend.device.queue, a)
            sums[name] = partial(parlinalg.psum, there, backend=backend)
        show(f"{dtype}, psum of {length:,}", medians(sums, rounds), a.nbytes, bandwidths)
    for name, backend in backends.items():
        print(f"{'16 x 16, until queued':34} {name:62} {overhead(backend) * 1e6:9.1f} us")


if __name__ == "__main__":
    main()
