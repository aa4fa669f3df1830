"""The lecture's experiment: the same product on every backend, over sizes, against NumPy."""

from __future__ import annotations

import math
import time
import timeit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .api import matvec
from .backends._base import Backend
from .dispatch import asked_for, choose
from .errors import BackendUnavailable
from .operands import as_operand
from .placing import operator
from .plan import plan_matvec
from .profile import free_memory, read_bandwidth
from .reference import deviation, reference
from .registry import BackendInfo, backend_class, names
from .registry import backends as list_backends
from .rows import Row, table
from .served import Served, ServedCall
from .workers import default_workers, ranks_of_job

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["LAYOUTS", "Comparison", "compare"]

Array = NDArray[Any]
Call = Callable[[], Array] | ServedCall
Problem = tuple[Array, Array]

NUMPY = "numpy.matvec"  # the contender that the others are held against
FUNCTIONS: Mapping[str, Callable[..., Array]] = {NUMPY: np.matvec, "numpy.dot": np.dot}

SIZES = (16, 32, 64, 128, 256, 512, 1000, 2000, 4000, 8000, 10000)
QUICK_SIZES = (16, 64, 256, 1000, 4000)
COPIES = 6  # of a matrix, that must fit into free memory: ours, a placed one, one on its way, and room to live

PAUSE = 0.01  # seconds between contenders, at least
LONGEST_PAUSE = 0.5
BATCH = 0.005  # seconds that the calls of one measurement take together, at least
SLOW = 0.05  # seconds of a call from which on it is timed without a warm-up
ROUNDS = range(3, 10)
SECONDS = 6.0  # for one size, after which no further round begins
QUICK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` returns."""

    rows: tuple[Row, ...]
    unavailable: Mapping[str, str]  # backends that could not take part, and why not
    bandwidth: float  # this host's measured read bandwidth, bytes per second

    @property
    def disagreements(self) -> tuple[Row, ...]:
        """The rows whose result is wrong."""
        return tuple(row for row in self.rows if not row.agrees)

    def table(self, title: str | None = None) -> Group:
        """The rows as a table under a `title`, for the package rich: ``rich.print(comparison.table())``.

        Raises
        ------
        ImportError
            If rich is not installed.
        """
        return table(self.rows, self.unavailable, self.bandwidth, title)


class _Contender(NamedTuple):
    name: str
    workers: int
    calls: tuple[Call, ...]  # with the matrix in place; and, of a backend, with placing it
    device: str = ""
    bandwidth: float | None = None  # of its device


def compare(
    A: ArrayLike | None = None,
    x: ArrayLike | None = None,
    /,
    *,
    sizes: Sequence[int] | None = None,
    dtype: DTypeLike = np.float64,
    x_dtype: DTypeLike | None = None,
    layout: str = "C",
    backends: Sequence[str | Backend] | None = None,
    workers: int | None = None,
    quick: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> Comparison:
    """Time the same matrix-vector product on every backend, against ``numpy.matvec``, and check the results.

    Parameters
    ----------
    A, x : array_like, shapes (m, n) and (n,), optional
        The product to compute. None: square matrices of random numbers, of several sizes.
    sizes : sequence of int, optional
        Of those matrices. None: 16 to 10000, as far as they fit into memory.
    dtype : dtype
        Of those matrices.
    x_dtype : dtype, optional
        Of the vectors. None: that of the matrices.
    layout : {"C", "F", "sliced", "flipped"}
        Of those matrices: rows contiguous, columns contiguous, every second row and column of a larger matrix, rows
        and columns in reverse.
    backends : sequence of str or Backend, optional
        Those to compare; also ``"auto"`` and ``"numpy.dot"``. None: every backend, and ``"auto"``.
    workers : int, optional
        As in `matvec`; a backend that cannot use so many uses as many as it can. For "mpi", outside of an MPI job, so
        many ranks are started.
    quick : bool
        Fewer sizes, and less time for each.
    progress : function, optional
        Called with the share of the work that is done, and what comes next.

    Returns
    -------
    Comparison
        Rows, backends that could not take part, and the measured read bandwidth. `Comparison.disagreements` is
        empty if all results are right.

    Raises
    ------
    TypeError, ValueError
        For operands as in `matvec`, an unknown backend, or what is not a size.
    BackendError
        If a worker died.

    Notes
    -----
    Contenders take turns, round by round, with a pause before each; times are medians over the rounds. The reference
    is the product in ``numpy.longdouble`` (of integers: NumPy's own), the unit of the deviation the error bound
    ``gamma_n * (abs(A) @ abs(x))`` of each element (Higham 2002, section 3.1).

    Examples
    --------
    >>> import parlinalg
    >>> result = parlinalg.compare(sizes=[16], backends=["numpy"], quick=True)
    >>> [row.backend for row in result.rows]
    ['numpy.matvec', 'numpy']
    """
    if A is not None or x is not None:
        total, problems = 1, iter([_given(A, x, sizes)])
    else:
        total, problems = _problems(
            sizes, np.dtype(dtype), np.dtype(dtype if x_dtype is None else x_dtype), layout, quick
        )
    race = _Race(backends, workers, QUICK_SECONDS if quick else SECONDS)
    report = progress or (lambda share, what: None)
    report(0.0, "read bandwidth")
    race.bandwidth = read_bandwidth()
    rows: list[Row] = []
    for done, problem in enumerate(problems, 1):
        report(done / (total + 1), "{} x {}".format(*problem[0].shape))
        rows += race.run(*problem)
    report(1.0, "done")
    return Comparison(tuple(rows), race.unavailable, race.bandwidth)


def _problems(
    sizes: Sequence[int] | None, dtype: np.dtype, x_dtype: np.dtype, layout: str, quick: bool
) -> tuple[int, Iterator[Problem]]:
    """How many products to compute, and those; each random matrix is made when its turn comes."""
    for one in (dtype, x_dtype):
        if one.kind not in "biufc":
            raise TypeError(f"compare: dtype={one} is not numeric; accepted are bool, integers, floats and complex")
    if layout not in LAYOUTS:
        raise ValueError(f"compare: layout is {layout!r}; it must be one of {', '.join(LAYOUTS)}")
    if sizes is None:
        room = free_memory() // COPIES
        sizes = [n for n in (QUICK_SIZES if quick else SIZES) if n * n * dtype.itemsize <= room]
    wrong = [n for n in sizes if not isinstance(n, (int, np.integer)) or n < 1]
    if wrong or not sizes:
        raise ValueError(f"compare: sizes holds {wrong[0] if wrong else 'nothing'}; it must hold positive integers")
    rng = np.random.default_rng(20)
    return len(sizes), ((LAYOUTS[layout](rng, n, dtype), _random(rng, (n,), x_dtype)) for n in sizes)


def _given(A: ArrayLike | None, x: ArrayLike | None, sizes: Sequence[int] | None) -> Problem:
    if A is None or x is None:
        raise ValueError(f"compare: {'A' if A is None else 'x'} is missing; pass both A and x, or neither")
    if sizes is not None:
        raise ValueError("compare: sizes is of random matrices; pass it without A and x")
    matrix, vector = as_operand("compare", "A", A), as_operand("compare", "x", x)
    if matrix.ndim != 2 or vector.ndim != 1:
        raise ValueError(f"compare: A has shape {matrix.shape} and x {vector.shape}; they must be (m, n) and (n,)")
    plan_matvec(matrix.shape, matrix.dtype, vector.shape, vector.dtype)
    return matrix, vector


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    native = dtype.newbyteorder("=")
    if dtype.kind in "biu":
        values: Array = rng.integers(0, 2 if dtype.kind == "b" else 100, shape, native)
    elif dtype.kind == "c":
        values = _random(rng, shape, np.dtype(np.float64)) + 1j * _random(rng, shape, np.dtype(np.float64))
    else:
        values = rng.random(shape, np.float32 if dtype.itemsize <= 4 else np.float64)
        values -= 0.5
    return values.astype(dtype, copy=False)


LAYOUTS: Mapping[str, Callable[[np.random.Generator, int, np.dtype], Array]] = {
    "C": lambda rng, n, dtype: _random(rng, (n, n), dtype),
    "F": lambda rng, n, dtype: _random(rng, (n, n), dtype).T,
    "sliced": lambda rng, n, dtype: _random(rng, (2 * n, 2 * n), dtype)[::2, ::2],
    "flipped": lambda rng, n, dtype: _random(rng, (n, n), dtype)[::-1, ::-1],
}


class _Race:
    """The contenders, and what is known of them so far."""

    def __init__(self, backends: Sequence[str | Backend] | None, workers: int | None, budget: float) -> None:
        chosen = ("auto", *names()) if backends is None else backends
        self.backends = {one.name if isinstance(one, Backend) else one: one for one in chosen}
        self.workers = workers
        self.budget = budget
        self.bandwidth = math.nan
        listed = list_backends()
        self.unavailable = {name: why for name in self.backends if (why := self._why_not(name, listed))}

    def _why_not(self, name: str, listed: Mapping[str, BackendInfo]) -> str | None:
        # Asked of the list first, which also has a sentence for a package whose backend cannot even be imported.
        if self.backends[name] == name and name in listed:
            return listed[name].why_not
        kind = self._kind(name)
        return None if kind is None else kind.why_not()

    def _kind(self, name: str) -> type[Backend] | None:
        """The class of a contender; None if it is no backend."""
        backend = self.backends[name]
        if isinstance(backend, Backend):
            return type(backend)
        return None if backend == "auto" or backend in FUNCTIONS else backend_class(backend)

    def run(self, A: Array, x: Array) -> list[Row]:
        """Check and time every contender on one product."""
        # An overflow is right where the reference overflows too; a warning, which NumPy alone gives, would be no news.
        with ExitStack() as stack, np.errstate(all="ignore"):
            contenders = [_Contender(NUMPY, 0, (partial(np.matvec, A, x),)), *self._enter(A, x, stack)]
            product, bound = reference(A, x)
            deviations = [max(deviation(call(), product, bound) for call in one.calls) for one in contenders]
            times = _times(contenders, self.budget)
        return [
            _row(one, A, x, self.bandwidth, seconds, times[0][0], far)
            for one, seconds, far in zip(contenders, times, deviations, strict=True)
        ]

    def _enter(self, A: Array, x: Array, stack: ExitStack) -> Iterator[_Contender]:
        for name in self.backends:
            if name in self.unavailable or name == NUMPY:
                continue
            try:
                yield self._contender(name, A, x, stack)
            except (BackendUnavailable, MemoryError) as error:
                self.unavailable[name] = f"{A.shape[0]} x {A.shape[1]}: {error}"

    def _contender(self, name: str, A: Array, x: Array, stack: ExitStack) -> _Contender:
        if name in FUNCTIONS:
            return _Contender(name, 0, (partial(FUNCTIONS[name], A, x),))
        if self.backends[name] == "mpi" and ranks_of_job() == 1:
            ranks = self.workers or default_workers()
            return _Contender(name, ranks, stack.enter_context(Served(A, x, ranks)).calls)
        options: dict[str, Any] = {"backend": self.backends[name], "workers": self._workers(name)}
        placed = stack.enter_context(operator(A, **options))
        if name == "auto" and self.workers is None and asked_for(None) == "auto":
            options = {}  # as users call it; only this form has a short cut for small products
        one_shot = partial(matvec, A, x, **options)
        one_shot()  # so that a backend without room for another copy of the matrix says so now
        plan = plan_matvec(A.shape, A.dtype, x.shape, x.dtype)
        used = choose(plan, options.get("backend"), options.get("workers")).backend
        calls = partial(placed.matvec, x), one_shot
        return _Contender(name, placed.stats().workers, calls, used.device_name, used.bandwidth())

    def _workers(self, name: str) -> int | None:
        backend = self.backends[name]
        kind = backend if isinstance(backend, Backend) else self._kind(name)
        if self.workers is None or kind is None or kind.capacity is None:
            return self.workers
        return min(self.workers, kind.capacity)


def _times(contenders: Sequence[_Contender], budget: float) -> list[list[float]]:
    """Median seconds of each call of each contender, measured in turns."""
    numbers: list[list[int]] = []
    for one in contenders:
        _settle()
        numbers.append([_number(call) for call in one.calls])
    samples: list[list[list[float]]] = [[[] for _ in one.calls] for one in contenders]
    started = time.perf_counter()
    for turn in range(ROUNDS.stop - 1):
        if turn >= ROUNDS.start and time.perf_counter() - started > budget:
            break
        for i, one in enumerate(contenders):
            _settle()
            for j, call in enumerate(one.calls):
                samples[i][j].append(_measure(call, numbers[i][j]))
    return [[float(np.median(of_call)) for of_call in of_contender] for of_contender in samples]


def _settle() -> None:
    """Wait until this process is idle: OpenBLAS's threads spin for 0.1 s, in the way of whoever computes next."""
    deadline = time.perf_counter() + LONGEST_PAUSE
    while time.perf_counter() < deadline:
        spun = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - spun < PAUSE / 4:
            return


def _number(call: Call) -> int:
    """How many calls to time together; 0: one, without a warm-up."""
    seconds = _seconds(call, 1)
    if seconds >= SLOW:
        return 0
    seconds = min(seconds, _seconds(call, 1), _seconds(call, 1))
    return math.ceil(BATCH / max(seconds, 1e-7))


def _measure(call: Call, number: int) -> float:
    # After the pause the processor sleeps, and its cache holds what the contender before has read.
    if number:
        _seconds(call, number)
    return _seconds(call, max(1, number)) / max(1, number)


def _seconds(call: Call, number: int) -> float:
    return call.seconds(number) if isinstance(call, ServedCall) else timeit.timeit(call, number=number)


def _row(
    one: _Contender, A: Array, x: Array, bandwidth: float, times: Sequence[float], baseline: float, far: float
) -> Row:
    seconds, with_placing = times[0], times[-1]
    dtype = np.result_type(A, x)
    nbytes = A.nbytes + x.nbytes + A.shape[0] * dtype.itemsize
    return Row(
        backend=one.name,
        workers=one.workers,
        m=A.shape[0],
        n=A.shape[1],
        dtype=str(dtype),
        nbytes=nbytes,
        seconds=seconds,
        seconds_with_placing=with_placing,
        gigabytes_per_second=nbytes / seconds / 1e9,
        share_of_bandwidth=nbytes / seconds / (one.bandwidth or bandwidth),
        speedup=baseline / seconds,
        speedup_with_placing=baseline / with_placing,
        deviation=far,
        device=one.device,
    )
