"""``auto`` against NumPy, and MKL, torch, numba and JAX where they are installed, over a grid of calls.

    pip install "parlinalg[bench]"
    python docs/measurements/grid.py [--quick] [--out FOLDER]

Operations, dtypes, layouts and shapes, from 1 to 1e8 elements: square, tall and wide. Contenders take turns, in random
order, each after a pause and warmed up, as their users would call them; medians. A case that parlinalg seems to lose to
NumPy is measured again, all of it, and that counts. Writes every figure to grid.json, and a picture for each dtype.
Prints first where parlinalg loses, then geometric means.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from random import shuffle
from statistics import geometric_mean, median
from typing import Any

import numpy as np

import parlinalg
from parlinalg.plot import figure
from parlinalg.profile import read_bandwidth

Call = Callable[[], Any]

DTYPES = ("float64", "float32", "complex128", "complex64", "float16", "int64", "int32", "int8", "bool")
QUICK_DTYPES = ("float64", "float32", "complex128", "int32", "bool")
LAYOUTS = ("C", "F", "sliced", "flipped")
SHAPES = ("square", "tall", "wide")
SIZES = tuple(10**power for power in range(9))
QUICK_SIZES = (10, 1000, 10**5, 10**6, 10**7)
NARROW = 16  # the short side of tall and wide matrices
ROUNDS = 5
BATCH = 0.002  # seconds that the calls of one measurement take together, at least
WARMUP = 0.01  # of calls before they are counted: idle threads and processors, and caches, need some milliseconds
LONGEST_PAUSE = 0.3
OPERATIONS = ("matvec", "psum", "vecdot")
OWN = "parlinalg on "
FASTEST = "the fastest"


@dataclass(frozen=True)
class Figure:
    """One contender in one case."""

    operation: str
    dtype: str
    layout: str
    shape: str
    elements: int
    contender: str
    seconds: float
    gigabytes_per_second: float


@dataclass(frozen=True)
class Case:
    operation: str
    dtype: str
    layout: str
    shape: str
    elements: int


def cases(quick: bool) -> Iterator[Case]:
    """The grid."""
    for dtype in QUICK_DTYPES if quick else DTYPES:
        for elements in QUICK_SIZES if quick else SIZES:
            for layout in ("C", "F") if quick else LAYOUTS:
                for shape in ("square",) if quick else SHAPES:
                    yield Case("matvec", dtype, layout, shape, elements)
            for layout in ("C",) if quick else ("C", "sliced", "flipped"):
                yield Case("psum", dtype, layout, "square", elements)
            yield Case("vecdot", dtype, "C", "square", elements)


def sides(case: Case) -> tuple[int, int]:
    """Rows and columns."""
    if case.shape == "square":
        n = max(1, math.isqrt(case.elements))
        return n, n
    long = max(1, case.elements // NARROW)
    return (long, NARROW) if case.shape == "tall" else (NARROW, long)


def random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    base = rng.standard_normal(min(4096, math.prod(shape)))
    some = base > 0 if dtype == "bool" else (100 * base).astype(dtype) if "int" in dtype else base.astype(dtype)
    return np.resize(some, shape)


def matrix(rng: np.random.Generator, case: Case) -> np.ndarray:
    """In the layout that is asked for."""
    m, n = sides(case)
    if case.layout == "F":
        return random(rng, (n, m), case.dtype).T
    if case.layout == "sliced":
        return random(rng, (2 * m, 2 * n), case.dtype)[::2, ::2]
    A = random(rng, (m, n), case.dtype)
    return A[::-1, ::-1] if case.layout == "flipped" else A


def contenders(case: Case, A: np.ndarray, x: np.ndarray) -> dict[str, Call]:
    """Who can do it, as its users would."""
    if case.operation == "psum":
        calls: dict[str, Call] = {"parlinalg": lambda: parlinalg.psum(A), "numpy": lambda: A.sum()}
    elif case.operation == "vecdot":
        calls = {"parlinalg": lambda: parlinalg.vecdot(x, x), "numpy": lambda: np.vecdot(x, x)}
        if x.dtype.kind != "c":
            calls["numpy.dot"] = lambda: np.dot(x, x)
    else:
        calls = {"parlinalg": lambda: parlinalg.matvec(A, x), "numpy": lambda: np.matvec(A, x)}
        calls["numpy.dot"] = lambda: np.dot(A, x)
    for name in ("openmp",) if case.operation == "psum" else ("openmp", "numpy"):
        calls[OWN + name] = by_parlinalg(case.operation, A, x, name)
    for name, make in OTHERS.items():
        if importlib.util.find_spec(name) is not None or name == "mkl":
            call = make(case.operation, A, x)
            if call is not None:
                calls[name] = call
    return calls


def by_parlinalg(operation: str, A: np.ndarray, x: np.ndarray, backend: str) -> Call:
    if operation == "psum":
        return lambda: parlinalg.psum(A, backend=backend)
    if operation == "vecdot":
        return lambda: parlinalg.vecdot(x, x, backend=backend)
    return lambda: parlinalg.matvec(A, x, backend=backend)


def by_torch(operation: str, A: np.ndarray, x: np.ndarray) -> Call | None:
    import torch

    if any(stride < 0 for stride in A.strides):
        return None  # torch has no negative strides
    B, z = torch.from_numpy(A), torch.from_numpy(x)
    if operation == "psum":
        return B.sum
    if A.dtype == bool:
        return None
    if operation == "vecdot":
        return lambda: torch.vdot(z, z) if z.is_complex() else torch.dot(z, z)
    return lambda: torch.mv(B, z)


def by_numba(operation: str, A: np.ndarray, x: np.ndarray) -> Call | None:
    import numba

    if A.dtype in (np.float16, bool) or A.dtype.kind == "c":
        return None
    product, total = _numba(numba)
    if operation == "psum":
        return lambda: total(A)
    return (lambda: product(A, x)) if operation == "matvec" else None


_compiled: list[Any] = []


def _numba(numba: Any) -> Any:
    if not _compiled:

        @numba.njit(parallel=True, fastmath=True)
        def product(A: Any, x: Any) -> Any:
            y = np.empty(A.shape[0], A.dtype)
            for i in numba.prange(A.shape[0]):
                s = A.dtype.type(0)
                for j in range(A.shape[1]):
                    s += A[i, j] * x[j]
                y[i] = s
            return y

        @numba.njit(parallel=True, fastmath=True)
        def total(A: Any) -> Any:
            s = 0.0
            for i in numba.prange(A.shape[0]):
                for j in range(A.shape[1]):
                    s += A[i, j]
            return s

        _compiled.append((product, total))
    return _compiled[0]


def by_jax(operation: str, A: np.ndarray, x: np.ndarray) -> Call | None:
    if not A.flags.c_contiguous:
        return None  # JAX has no strides: it would be measured on copies
    import jax

    jax.config.update("jax_enable_x64", True)
    B, z = jax.device_put(A), jax.device_put(x)
    if operation == "psum":
        total = jax.jit(lambda a: a.sum())
        return lambda: total(B).block_until_ready()
    if operation == "vecdot":
        dot = jax.jit(lambda a: (a.conj() * a).sum())
        return lambda: dot(z).block_until_ready()
    product = jax.jit(lambda a, b: a @ b)
    return lambda: product(B, z).block_until_ready()


GEMV = {"float64": ("cblas_dgemv", ctypes.c_double), "float32": ("cblas_sgemv", ctypes.c_float)}


def by_mkl(operation: str, A: np.ndarray, x: np.ndarray) -> Call | None:
    """Its gemv, through ctypes, which adds a microsecond."""
    library = _mkl()
    if library is None or operation != "matvec" or A.dtype.name not in GEMV:
        return None
    if not (A.flags.c_contiguous or A.flags.f_contiguous):
        return None
    name, real = GEMV[A.dtype.name]
    m, n = A.shape
    y = np.empty(m, A.dtype)
    order, leading = (101, n) if A.flags.c_contiguous else (102, m)
    pointers = [ctypes.c_void_p(one.ctypes.data) for one in (A, x, y)]
    arguments = order, 111, m, n, real(1), pointers[0], leading, pointers[1], 1, real(0), pointers[2], 1
    function = getattr(library, name)

    def product() -> np.ndarray:
        function(*arguments)
        return y  # which must live as long as its address is used

    return product


def _mkl() -> Any:
    try:
        found = [one for one in files("mkl") or () if one.name.startswith("libmkl_rt.so")]
    except PackageNotFoundError:
        return None
    return ctypes.CDLL(str(found[0].locate())) if found else None


OTHERS: dict[str, Callable[[str, np.ndarray, np.ndarray], Call | None]] = {
    "mkl": by_mkl,
    "torch": by_torch,
    "numba": by_numba,
    "jax": by_jax,
}


def settle() -> None:
    """Wait until this process is idle: threads of some libraries spin into the next one's turn."""
    deadline = time.perf_counter() + LONGEST_PAUSE
    while time.perf_counter() < deadline:
        spun = time.process_time()
        time.sleep(0.01)
        if time.process_time() - spun < 0.0025:
            return


def seconds_of(calls: dict[str, Call]) -> dict[str, float]:
    """Medians, in turns."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()  # compilers take long
    order = list(calls)
    for _ in range(ROUNDS):
        shuffle(order)
        for name in order:
            settle()
            number = calls_within(WARMUP, calls[name])
            samples[name].append(timed(calls[name], max(1, round(number * BATCH / WARMUP))))
    return {name: median(of_one) for name, of_one in samples.items()}


def seconds_unless_lost(calls: dict[str, Call]) -> dict[str, float]:
    """The same; measured again if parlinalg lost to NumPy, by more than 5 %, the first time."""
    seconds = seconds_of(calls)
    return seconds if seconds["parlinalg"] <= 1.05 * seconds["numpy"] else seconds_of(calls)


def calls_within(seconds: float, call: Call) -> int:
    """How many begin in that time."""
    number, end = 0, time.perf_counter() + seconds
    while number == 0 or time.perf_counter() < end:
        call()
        number += 1
    return number


def timed(call: Call, number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def measure(case: Case) -> Iterator[Figure]:
    """Every contender in one case."""
    rng = np.random.default_rng(0)
    A = matrix(rng, case)
    x = random(rng, (case.elements if case.operation == "vecdot" else A.shape[1],), case.dtype)
    nbytes = x.nbytes if case.operation == "vecdot" else A.nbytes
    with np.errstate(all="ignore"):
        for name, seconds in seconds_unless_lost(contenders(case, A, x)).items():
            yield Figure(**asdict(case), contender=name, seconds=seconds, gigabytes_per_second=nbytes / seconds / 1e9)


def grouped(figures: list[Figure]) -> dict[Case, dict[str, float]]:
    found: dict[Case, dict[str, float]] = {}
    for one in figures:
        case = Case(one.operation, one.dtype, one.layout, one.shape, one.elements)
        found.setdefault(case, {})[one.contender] = one.seconds
    return found


def report(figures: list[Figure]) -> None:
    """Where parlinalg loses; then the means."""
    found = grouped(figures)
    for times in found.values():
        times[FASTEST] = min(seconds for name, seconds in times.items() if not name.startswith("parlinalg"))
    print("Slower than numpy by more than 5 %:")
    losses = [(times["numpy"] / times["parlinalg"], case) for case, times in found.items()]
    for ratio, case in sorted(losses, key=lambda one: one[0]):
        if ratio < 1 / 1.05:
            print(f"  {ratio:5.2f}  {case.operation} {case.dtype} {case.layout} {case.shape} {case.elements:.0e}")
    won = sum(ratio >= 1 / 1.05 for ratio, _ in losses)
    print(f"At most 1.05 x the time of numpy: {won} of {len(losses)} cases")
    own = [
        min(seconds for name, seconds in times.items() if name.startswith(OWN)) / times["parlinalg"]
        for times in found.values()
    ]
    print(f"At most 1.1 x that of its best backend: {sum(ratio >= 1 / 1.1 for ratio in own)} of {len(own)} cases")
    print("Speed over others, geometric means; in brackets the least:")
    for operation in OPERATIONS:
        for dtype in DTYPES:
            line = []
            for other in ("numpy", "numpy.dot", *OTHERS, FASTEST):
                ratios = [
                    times[other] / times["parlinalg"]
                    for case, times in found.items()
                    if (case.operation, case.dtype) == (operation, dtype) and other in times
                ]
                if ratios:
                    line.append(f"{other} {geometric_mean(ratios):.2f} [{min(ratios):.2f}]")
            if line:
                print(f"  {operation:7} {dtype:11} {', '.join(line)}")


def draw(figures: list[Figure], bandwidth: float, folder: Path) -> None:
    """A picture for each dtype: GB/s over bytes, with the roof of this host's memory."""
    for dtype in dict.fromkeys(one.dtype for one in figures):
        own = [one for one in figures if (one.dtype, one.layout, one.shape) == (dtype, "C", "square")]
        sheet = figure(12, 4.5)
        colors = {name: f"C{k}" for k, name in enumerate(dict.fromkeys(one.contender for one in own))}
        for axes, operation in zip(sheet.subplots(1, 3, sharey=True), OPERATIONS, strict=True):
            for name in dict.fromkeys(one.contender for one in own if one.operation == operation):
                line = [one for one in own if (one.operation, one.contender) == (operation, name)]
                line.sort(key=lambda one: one.elements)
                rates = [one.gigabytes_per_second for one in line]
                sizes = [rate * 1e9 * one.seconds for rate, one in zip(rates, line, strict=True)]
                axes.loglog(sizes, rates, marker=".", label=name, color=colors[name])
            axes.axhline(bandwidth / 1e9, color="gray", linestyle="--", linewidth=1)
            axes.set(title=f"{operation}, {dtype}", xlabel="bytes")
            axes.legend(fontsize="small")
        sheet.supylabel("GB/s")
        sheet.savefig(folder / f"grid-{dtype}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer dtypes, layouts and sizes")
    parser.add_argument("--most", type=int, default=10**8, help="elements")
    parser.add_argument("--out", type=Path, default=Path("grid"), help="folder for grid.json and the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    bandwidth = read_bandwidth()
    figures: list[Figure] = []
    for case in cases(arguments.quick):
        if case.elements <= arguments.most:
            figures += measure(case)
    data = {"bandwidth": bandwidth, "figures": [asdict(one) for one in figures]}
    (arguments.out / "grid.json").write_text(json.dumps(data, indent=1) + "\n")
    report(figures)
    draw(figures, bandwidth, arguments.out)


if __name__ == "__main__":
    main()
