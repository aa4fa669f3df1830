"""How fast products and sums are on every OpenCL device, beside threads, and beside CuPy where it is.

    python docs/examples/opencl_speed.py [--quick] [--sizes 4000,10000]

With the matrix, x and y in place. Contenders take turns. Medians. On a GPU, the share of its copy bandwidth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

import parlinalg
from parlinalg.backends import OpenCL
from parlinalg.backends._device import all_devices

ROUNDS = 9


def medians(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    for _ in range(rounds):
        for name, call in contenders.items():
            time.sleep(0.05)
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(of_one)) for name, of_one in times.items()}


def copy_bandwidth(backend: OpenCL, nbytes: int) -> float:
    """Bytes per second that the device reads and writes when it copies a buffer."""
    device = backend.device
    one, other = device.empty(nbytes), device.empty(nbytes)

    def copy() -> None:
        device.cl.enqueue_copy(device.queue, one, other, byte_count=nbytes)
        device.queue.finish()

    return 2 * nbytes / medians({"copy": copy}, 5)["copy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="4000,10000", help="of square matrices")
    parser.add_argument("--quick", action="store_true", help="one small size, and few rounds")
    arguments = parser.parse_args()
    sizes, rounds = ([400], 3) if arguments.quick else (list(map(int, arguments.sizes.split(","))), ROUNDS)
    rng = np.random.default_rng(0)
    backends: dict[str, Any] = {"openmp": "openmp"}
    backends |= {f"{one.platform.name}, {one.name.strip()}": OpenCL(one) for one in all_devices()}
    for name, backend in backends.items():
        if isinstance(backend, OpenCL):
            rate = copy_bandwidth(backend, 1 << (20 if arguments.quick else 28))
            print(f"{name}: copies at {rate / 1e9:.1f} GB/s, read and written")
    for dtype in ("float64", "float32"):
        for n in sizes:
            A = rng.standard_normal((n, n)).astype(dtype)
            x, a = A[0].copy(), A.reshape(-1)[:10_000_000]
            placed = {name: parlinalg.operator(A, backend=backend) for name, backend in backends.items()}
            products: dict[str, Callable[[], Any]] = {name: lambda op=op, x=x: op @ x for name, op in placed.items()}  # type: ignore[misc]
            with suppress(ImportError):
                import cupy

                B, z = cupy.asarray(A), cupy.asarray(x)
                products["CuPy"] = lambda B=B, z=z: (B @ z, cupy.cuda.Stream.null.synchronize())  # type: ignore[misc]
            show(f"{dtype}, {n} x {n}", medians(products, rounds), A.nbytes)
            sums: dict[str, Callable[[], Any]] = {
                name: lambda backend=backend, a=a: parlinalg.psum(a, backend=backend)  # type: ignore[misc]
                for name, backend in backends.items()
            }
            show(f"{dtype}, psum of {a.size:,}", medians(sums, rounds), a.nbytes)
            for op in placed.values():
                op.close()


def show(title: str, seconds: dict[str, float], nbytes: int) -> None:
    """Print a line for each contender."""
    for name, one in seconds.items():
        ratio = seconds["openmp"] / one
        print(f"{title:28} {name:48} {one * 1e3:9.3f} ms {nbytes / one / 1e9:7.1f} GB/s, {ratio:.2f} x openmp")


if __name__ == "__main__":
    main()
