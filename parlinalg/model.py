"""How long a call would take on each candidate: curves of measured seconds over bytes."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

__all__ = ["BLAS", "SMALLEST", "Candidate", "Curve", "Model", "Step", "kind_of", "layout_of"]

BLAS = "fdFD"  # dtypes whose products NumPy gives to BLAS
DEVICES = ("opencl",)  # backends that may have memory of their own
FINER = 1.25  # factor between the sizes at which candidates are compared
SMALLEST, LARGEST = 1 << 15, 1 << 30  # bytes, of them
PRODUCTS = 100  # of an operator, in which placing its matrix must pay
WORTH_PLACING = 0.5  # of the time of who needs no placing, that a device must at least save
WORTH = 0.8  # of the time of the simpler candidate, that the other one must at least take: loops flatter threads
SHORT, MANY = 32, 64  # elements of a row that is short; rows
LARGE, WORTH_OF_LARGE = 1 << 23, 0.92  # bytes, from which on that is less so
FROM_MEMORY = 1 << 26  # bytes, from which on BLAS has to read rows from memory


class Candidate(NamedTuple):
    """Who may compute a call."""

    backend: str
    workers: int


class Step(NamedTuple):
    """The best candidate for fewer than so many bytes."""

    nbytes: float
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds of a call, measured at some sizes."""

    nbytes: tuple[float, ...]  # ascending
    seconds: tuple[float, ...]

    def __call__(self, nbytes: float) -> float:
        """Seconds at any size: between two measured ones their powers, below and above them a constant rate."""
        if nbytes <= self.nbytes[0]:
            return self.seconds[0]
        if nbytes >= self.nbytes[-1]:
            return self.seconds[-1] * nbytes / self.nbytes[-1]
        i = bisect_left(self.nbytes, nbytes)
        share = math.log(nbytes / self.nbytes[i - 1]) / math.log(self.nbytes[i] / self.nbytes[i - 1])
        return math.exp((1 - share) * math.log(self.seconds[i - 1]) + share * math.log(self.seconds[i]))

    def scaled(self, factor: float) -> Curve:
        """The same on a host that takes so many times as long."""
        return Curve(self.nbytes, tuple(one * factor for one in self.seconds))

    @property
    def latency(self) -> float:
        """Seconds of the smallest call."""
        return self.seconds[0]

    @property
    def bandwidth_in_cache(self) -> float:
        """The highest rate, in bytes per second."""
        return max(size / one for size, one in zip(self.nbytes, self.seconds, strict=True))

    @property
    def bandwidth(self) -> float:
        """The rate at the largest size, in bytes per second."""
        return self.nbytes[-1] / self.seconds[-1]


@dataclass(frozen=True, slots=True)
class Model:
    """The curves of a host, by kind of call and candidate."""

    curves: Mapping[str, Mapping[Candidate, Curve]]
    source: str = ""  # where they come from, for `explain`
    uploads: Mapping[str, float] = field(default_factory=dict)  # bytes per second, of backends that place a matrix
    devices: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # how work is given to them
    probe: Mapping[Candidate, float] = field(default_factory=dict)  # seconds of what `probe` does, on the same host
    doubted: bool = False  # whether other programs may have disturbed it, so that it is to be found again
    _steps: dict[str, Sequence[Step]] = field(default_factory=dict, repr=False, compare=False)

    def predict(self, kind: str, nbytes: float) -> dict[Candidate, float]:
        """Seconds of each candidate; of the nearest kind that was measured."""
        return {candidate: curve(nbytes) for candidate, curve in self._curves_of(kind).items()}

    def best(self, kind: str, nbytes: float) -> Candidate:
        """The fastest that needs no placing; of those that hardly differ NumPy, or the one with fewer workers.

        But not NumPy for rows from memory: BLAS reads it a tenth slower, which curves are too noisy to tell.
        """
        character = np.dtype(kind.split()[1]).char
        at_once = ("openmp", "numpy") if character in BLAS else ("openmp",)
        seconds = {one: taken for one, taken in self.predict(kind, nbytes).items() if one.backend in at_once}
        order = _numpy_last if nbytes >= FROM_MEMORY and kind.endswith(" rows") else _numpy_first
        return _best(seconds, WORTH if nbytes < LARGE else WORTH_OF_LARGE, order)

    def choose(self, kind: str, nbytes: float) -> Candidate:
        """The same, as `steps` have it."""
        return next(step.candidate for step in self.steps(kind) if nbytes < step.nbytes)

    def worth_placing(self, kind: str, nbytes: float) -> str | None:
        """The backend with devices that is much faster in the products of an operator, placing included.

        Only a host's own profile has such curves, and of one kind, which stands for the others: bytes are what counts.
        """
        curves = self.curves["matvec float64 rows"]
        at_once = PRODUCTS * self.predict(kind, nbytes)[self.best(kind, nbytes)]
        for one in (one for one in curves if one.backend in DEVICES and one.backend in self.uploads):
            if PRODUCTS * curves[one](nbytes) + nbytes / self.uploads[one.backend] < WORTH_PLACING * at_once:
                return one.backend
        return None

    def steps(self, kind: str) -> Sequence[Step]:
        """The best candidates over all sizes, of those that need no placing; the last one has no end."""
        if kind not in self._steps:
            self._steps[kind] = self._find_steps(kind)
        return self._steps[kind]

    def _find_steps(self, kind: str) -> Sequence[Step]:
        steps = [Step(SMALLEST, Candidate("openmp", 1))]
        nbytes = float(SMALLEST)
        while nbytes < LARGEST:
            best = self.best(kind, nbytes)
            if steps[-1].candidate == best:
                steps.pop()
            nbytes *= FINER
            steps.append(Step(nbytes, best))
        steps[-1] = Step(math.inf, steps[-1].candidate)
        return steps

    def _curves_of(self, kind: str) -> Mapping[Candidate, Curve]:
        return next(self.curves[one] for one in _nearest(kind) if one in self.curves)


def _numpy_first(one: Candidate) -> tuple[bool, int]:
    return one.backend != "numpy", one.workers


def _numpy_last(one: Candidate) -> tuple[bool, int]:
    return one.backend == "numpy", one.workers


def _best(
    seconds: Mapping[Candidate, float], worth: float, order: Callable[[Candidate], tuple[bool, int]]
) -> Candidate:
    ordered = sorted(seconds, key=order)
    best = ordered[0]
    for one in ordered[1:]:
        if seconds[one] < worth * seconds[best]:
            best = one
    return best


def _nearest(kind: str) -> Iterator[str]:
    """This kind, and what stands for it where it was not measured."""
    operation, name, layout = kind.split()
    dtype = np.dtype(name)
    width = {1: "int8", 2: "int16", 4: "int32", 8: "int64"}
    alike = ["float64", "float32"]
    if dtype.kind in "iu":
        alike = [width[dtype.itemsize], "int32", "int8"]
    elif dtype.kind == "c":
        alike = ["complex128" if dtype.itemsize > 8 else "complex64", "complex128"]
    for one in (name, *alike, "float64"):
        for lies in (layout, "rows"):
            yield f"{operation} {one} {lies}"


@cache
def kind_of(operation: str, dtype: np.dtype, layout: str) -> str:
    """``"matvec float64 rows"``; operations are "matvec", "exact" and "sum"."""
    return f"{operation} {dtype.name} {layout}"


def layout_of(a: Any, dtype: Any) -> str:
    """Along which axis the elements of a matrix follow each other: "rows", "columns", or "other": neither.

    "other" also, if they are not of the `dtype` to compute in, which NumPy would cast them to first.
    "short": the rows, or columns, are so short and many that BLAS is slow.
    """
    strides: Sequence[int] = a.strides[-2:]
    if not (a.flags.aligned and a.dtype.isnative and a.dtype == dtype):
        return "other"
    if a.ndim < 2:
        return "rows"
    m, n = a.shape[-2:]
    if strides[1] == a.itemsize or n == 1:
        return "short" if n <= SHORT and m >= MANY else "rows"
    if strides[0] == a.itemsize:
        return "short" if m <= SHORT and n >= MANY else "columns"
    return "other"
