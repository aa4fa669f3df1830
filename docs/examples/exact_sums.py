"""How fast exact sums and products are, beside NumPy's and whatever else is installed.

    python docs/examples/exact_sums.py [--quick]

Contenders take turns, with a pause before each, because the idle threads of some libraries spin on. Medians.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import parlinalg
from parlinalg.profile import read_bandwidth

Call = Callable[[], Any]

PAUSE = 0.12  # seconds: as long as OpenBLAS's threads spin
ROUNDS = 7
BATCH = 0.02  # seconds of calls to take together


@dataclass
class Case:
    name: str
    nbytes: int
    numpy: Call
    ours: dict[int, Call]  # by number of workers; 0: auto


def psum_case(name: str, a: Any, axis: int | None = None, workers: tuple[int, ...] = (1, 2)) -> Case:
    def ours(count: int) -> Call:
        if count == 0:
            return lambda: parlinalg.psum(a, axis)
        return lambda: parlinalg.psum(a, axis, backend="openmp", workers=count)

    return Case(name, a.nbytes, lambda: a.sum(axis), {count: ours(count) for count in workers})


def matvec_case(name: str, A: Any, x: Any) -> Case:
    def ours(count: int) -> Call:
        return lambda: parlinalg.matvec(A, x, exact=True, backend="openmp", workers=count)

    return Case(name, A.nbytes, lambda: np.dot(A, x), {count: ours(count) for count in (1, 2)})


def cases(scale: int) -> Iterator[Case]:
    rng = np.random.default_rng(0)
    a = rng.standard_normal(50_000_000 // scale)
    for n in (10, 100, 1000, 10_000):
        yield psum_case(f"psum float64 {n:,}", a[:n], workers=(0,))
    for n in (100_000, 1_000_000, 10_000_000, 50_000_000):
        yield psum_case(f"psum float64 {n // scale:,}", a[: n // scale], workers=(0, 1, 2))
    n = 10_000_000 // scale
    for dtype in ("float32", "float16"):
        yield psum_case(f"psum {dtype} {n:,}", a[:n].astype(dtype))
    for dtype in ("int64", "int32", "int8", "bool"):
        yield psum_case(f"psum {dtype} {n:,}", (100 * a[:n]).astype(dtype))
    yield psum_case(f"psum complex128 {n:,}", a[: 2 * n].view(complex))
    yield psum_case(f"psum float64 {n:,}, every second", a[: 2 * n : 2])
    yield psum_case(f"psum float64 {n:,}, byte-swapped", a[:n].astype(">f8"))
    for spread in (20, 40, 100, 500):
        spread_out = np.ldexp(a[:n], rng.integers(-spread, spread + 1, n))
        yield psum_case(f"psum float64 {n:,}, 2^+-{spread}", spread_out)
    square = a[:n].reshape(-1, 1000)
    yield psum_case(f"psum axis 0 of {len(square):,} x 1000", square, 0)
    yield psum_case(f"psum axis 1 of {len(square):,} x 1000", square, 1)
    side = 6000 // scale
    A, x = a[: side * side].reshape(side, side), a[:side]
    yield matvec_case(f"exact matvec {side:,}", A, x)
    yield matvec_case(f"exact matvec {side:,}, Fortran", A.T, x)
    yield matvec_case(f"exact matvec {side:,}, float32", A.astype("f4"), x.astype("f4"))


def others(a: Any) -> dict[str, Call]:
    """What else sums a float64 array, as far as it is installed."""
    values = a.tolist()
    found: dict[str, Call] = {"math.fsum of a list": lambda: math.fsum(values)}
    with suppress(ImportError):
        import torch

        tensor = torch.from_numpy(a)
        found["torch.sum"] = lambda: tensor.sum()
    with suppress(ImportError):
        import numba

        @numba.njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator,unused-ignore]
        def total(v: Any) -> float:
            s = 0.0
            for i in numba.prange(v.size):
                s += v[i]
            return s

        found["numba, parallel, fastmath"] = lambda: total(a)
    return found


def measure(calls: list[Call], rounds: int) -> list[float]:
    """Median seconds of each."""
    numbers = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        numbers.append(max(1, math.ceil(BATCH / max(time.perf_counter() - start, 1e-7))))
    samples: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, number, of_call in zip(calls, numbers, samples, strict=True):
            time.sleep(PAUSE)
            call()
            start = time.perf_counter()
            for _ in range(number):
                call()
            of_call.append((time.perf_counter() - start) / number)
    return [statistics.median(of_call) for of_call in samples]


def seconds(value: float) -> str:
    return f"{value * 1e6:.2f} us" if value < 1e-4 else f"{value * 1e3:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, and two rounds")
    quick = parser.parse_args().quick
    scale, rounds = (10, 2) if quick else (1, ROUNDS)
    bandwidth = read_bandwidth()
    table = Table(title=f"speed over NumPy; memory is read at {bandwidth / 1e9:.1f} GB/s")
    for name in ("case", "NumPy", "auto", "1 worker", "2 workers", "GB/s", "of bandwidth"):
        table.add_column(name, justify="left" if name == "case" else "right")
    for case in cases(scale):
        base, *times = measure([case.numpy, *case.ours.values()], rounds)
        ratios = {count: f"{base / one:.2f}" for count, one in zip(case.ours, times, strict=True)}
        rate = case.nbytes / times[-1]
        columns = [ratios.get(count, "") for count in (0, 1, 2)]
        table.add_row(case.name, seconds(base), *columns, f"{rate / 1e9:.1f}", f"{rate / bandwidth:.0%}")
    Console(width=110).print(table)
    a = np.random.default_rng(0).standard_normal(10_000_000 // scale)
    contenders = {"numpy.sum": a.sum, "parlinalg.psum": lambda: parlinalg.psum(a), **others(a)}
    for name, one in zip(contenders, measure(list(contenders.values()), rounds), strict=True):
        print(f"{name:27} {a.size:,} float64: {seconds(one)}")


if __name__ == "__main__":
    main()
