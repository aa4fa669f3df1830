"""``tune``: measure this host, once, so that "auto" knows it."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends._base import Backend
from .backends._numpy import NumPy
from .dispatch import use_model
from .model import BLAS, SHORT, Candidate, Curve, Model, kind_of
from .probe import seconds_of_probe
from .profile import free_memory
from .profiles import default_path, require_writable, save
from .registry import backend_class, default_instance, usable
from .workers import default_workers

__all__ = ["tune"]

Array = NDArray[Any]
Call = Callable[[], Any]

DTYPES = "fdFD?bhilqe"  # signed integers stand for unsigned ones
QUICK_DTYPES = "fdD?bil"
SIZES = tuple(1 << power for power in (12, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27))  # bytes of a matrix
HUGE = 1 << 29  # bytes of a matrix, where BLAS falls behind
QUICK_SIZES = tuple(1 << power for power in (12, 15, 18, 20, 22, 24, 26))
MOST_OF_MEMORY = 1 / 8  # that a matrix may take
NO_GAIN = 0.97  # of the time with fewer workers; what does not save more is not worth them
REPEATS = 3
AGAIN = 1 << 24  # bytes up to which all is measured again: else some tenths of a second could spoil all sizes
LEAST_SECONDS = 0.001  # of a measurement: quick calls are repeated
SPINNING = 0.15  # seconds that idle threads of BLAS go on
RESIDENT_SIZES = (1 << 15, 1 << 20, 1 << 24, 1 << 27)  # bytes; GPUs are slow with matrices that do not fill them


def tune(*, quick: bool = False, progress: Callable[[float, str], None] | None = None) -> Path:
    """Measure how long calls take on this host, and keep it in a file, from which ``backend="auto"`` chooses.

    Takes up to a minute, in which nothing else should run. Later processes read the file when they first need it; this
    one uses it from now on.

    Parameters
    ----------
    quick : bool
        Fewer dtypes and sizes, in some seconds.
    progress : function, optional
        Called with the share of the work that is done, and what comes next.

    Returns
    -------
    pathlib.Path
        The file, in the user's cache directory, or what ``PARLINALG_PROFILE`` names. It holds for this host, processor
        and version of parlinalg and NumPy, and is ignored, with a warning, elsewhere.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import parlinalg
    >>> path = parlinalg.tune(quick=True)  # doctest: +SKIP
    """
    report = progress or (lambda share, what: None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "parlinalg: the profile")  # what there is now is what this replaces
        return _tune(quick, report)


def _tune(quick: bool, report: Callable[[float, str], None]) -> Path:
    path = default_path()
    require_writable(path)  # before all the work
    report(0.0, "workers")
    workers = _useful_workers()
    kinds = list(_kinds(QUICK_DTYPES if quick else DTYPES))
    sizes = QUICK_SIZES if quick else SIZES
    curves: dict[str, dict[Candidate, Curve]] = {}
    for done, (operation, dtype, layout) in enumerate(kinds):
        kind = kind_of(operation, dtype, layout)
        report(done / len(kinds), kind)
        own = (
            (*sizes, HUGE) if operation == "matvec" and dtype.char in BLAS and layout in ("rows", "columns") else sizes
        )
        room = free_memory() * MOST_OF_MEMORY
        curves[kind] = _measure_kind(operation, dtype, layout, [size for size in own if size <= room], workers)
    uploads: dict[str, float] = {}
    devices: dict[str, dict[str, int]] = {}
    for name in ("process", "opencl"):
        if usable(name):
            report(1.0, name)
            uploads[name] = _measure_resident(name, curves["matvec float64 rows"])
            devices |= backend_class(name).tune_devices()
    model = Model(curves, str(path), uploads, devices, seconds_of_probe(workers))
    save(model, path)
    use_model(model)
    report(1.0, "done")
    return path


def _kinds(characters: str) -> Iterator[tuple[str, np.dtype, str]]:
    for character in characters:
        dtype = np.dtype(character)
        yield from (("matvec", dtype, layout) for layout in ("rows", "columns", "other"))
        if character in BLAS:
            yield "matvec", dtype, "short"
            yield "exact", dtype, "rows"
        yield from (("sum", dtype, layout) for layout in ("rows", "other"))


def _measure_kind(
    operation: str, dtype: np.dtype, layout: str, sizes: Sequence[int], workers: int
) -> dict[Candidate, Curve]:
    threads = [Candidate("openmp", one) for one in sorted({1, workers})]
    blas = [Candidate("numpy", 1)] if operation == "matvec" and dtype.char in BLAS else []
    seconds = {one: [math.inf] * len(sizes) for one in (*threads, *blas)}
    for some in (sizes, [size for size in sizes if size <= AGAIN]):
        for candidates in (threads, blas):
            for number, size in enumerate(some if candidates else ()):
                A = _matrix(dtype, layout, size)
                for one in candidates:
                    seconds[one][number] = min(seconds[one][number], _seconds(_call(one, operation, A)))
        if blas:
            time.sleep(SPINNING)
    return {one: Curve(tuple(map(float, sizes)), tuple(found)) for one, found in seconds.items()}


def _call(candidate: Candidate, operation: str, A: Array) -> Call:
    workers = candidate.workers
    backend = NumPy(reports=False) if candidate.backend == "numpy" else default_instance(candidate.backend)
    if operation == "sum":
        return _sum(backend, workers, A)
    x, out = A[0].copy(), np.empty(len(A), A.dtype)
    options = {"exact": True} if operation == "exact" else {}
    return lambda: backend.matvec(A, x, out, workers, **options)


def _sum(backend: Backend, workers: int, A: Array) -> Call:
    if A.dtype.kind == "c":
        A = A.view(A.real.dtype) if A.flags.c_contiguous else A.real
    if A.dtype.kind != "f":
        return lambda: backend.sum_states(A, 0, workers)
    out = np.empty((), A.dtype)
    return lambda: backend.write_sums(A, 0, out, workers)


def _matrix(dtype: np.dtype, layout: str, nbytes: int) -> Array:
    """Of so many bytes, with numbers as usual as can be; square, unless it is "short"; "other": every other column."""
    elements = nbytes // dtype.itemsize
    n = SHORT // 2 if layout == "short" else max(1, math.isqrt(elements))
    m = max(1, elements // n)
    base = np.random.default_rng(0).standard_normal(4096)
    some = base > 0 if dtype.kind == "b" else (100 * base).astype(dtype)
    if layout == "other":
        return np.resize(some, (m, 2 * n))[:, ::2]
    return np.resize(some, (n, m)).T if layout == "columns" else np.resize(some, (m, n))


def _seconds(call: Call) -> float:
    """Median seconds of a call in a loop of calls."""
    with np.errstate(all="ignore"):
        once = min(_time(call, 1), _time(call, 1))
        number = max(1, int(LEAST_SECONDS / max(once, 1e-7)))
        return float(np.median([_time(call, number) for _ in range(REPEATS)]))


def _time(call: Call, number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def _useful_workers() -> int:
    """The number of workers beyond which nothing is gained, of products that read memory."""
    most = default_workers()
    A = _matrix(np.dtype(np.float64), "rows", SIZES[-1] if free_memory() * MOST_OF_MEMORY > SIZES[-1] else SIZES[-3])
    tried = sorted({most, *(1 << power for power in range(most.bit_length()))} - {0})
    seconds = {one: _seconds(_call(Candidate("openmp", one), "matvec", A)) for one in tried if one <= most}
    best = min(seconds, key=seconds.__getitem__)
    return next(one for one in tried if seconds[one] * NO_GAIN <= seconds[best])


def _measure_resident(name: str, curves: dict[Candidate, Curve]) -> float:
    """Add the curve of a backend with the matrix in place; return its bytes per second of placing."""
    backend = default_instance(name)
    workers = min(default_workers(), backend.capacity or default_workers())
    room = min(backend.room(), free_memory() * MOST_OF_MEMORY)
    sizes = [size for size in RESIDENT_SIZES if size <= max(room, RESIDENT_SIZES[0])]
    seconds = []
    for size in sizes:
        A = _matrix(np.dtype(np.float64), "rows", size)
        x, out = A[0].copy(), np.empty(len(A))
        with backend.place(A, workers) as resident:
            seconds.append(_seconds(lambda: resident.matvec(x, out)))  # noqa: B023  called at once
    curves[Candidate(name, workers)] = Curve(tuple(map(float, sizes)), tuple(seconds))
    with_placing = _seconds(lambda: backend.matvec(A, x, out, workers))
    return A.nbytes / max(with_placing - seconds[-1], 1e-9)
