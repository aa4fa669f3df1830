"""Which backend computes a call, with how many workers, and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, TypeVar, cast

import numpy as np

from . import _small
from .backends._base import Backend
from .errors import BackendUnavailable
from .plan import MatvecPlan, SumPlan
from .registry import backend_class, default_instance, usable
from .workers import default_workers, resolve_workers

if TYPE_CHECKING:
    from .backends._mpi import MPI

__all__ = [
    "Choice",
    "asked_for",
    "choose",
    "collective",
    "count_workers",
    "engage",
    "set_backend",
    "tell",
    "with_ranks",
]

F = TypeVar("F", bound=Callable[..., Any])

# Elements of A below which a parallel region costs more than it saves (docs: measurements, "where threads pay").
SERIAL_MATVEC = 200_000
SERIAL_BOOL = 8_000_000  # a row of bool ends at its first true, most often after a few elements
SERIAL_EXACT = 50_000  # of exact products
SERIAL_SUM = 300_000


class Choice(NamedTuple):
    """What ``explain`` returns: who computes a call, and why."""

    backend: Backend
    workers: int
    reason: str

    def __str__(self) -> str:
        plural = "" if self.workers == 1 else "s"
        return f"{self.backend.name}, {self.workers} worker{plural}: {self.reason}"


_NOTHING: tuple[str | Backend | None, int | None] = (None, None)
_default = ContextVar("parlinalg_backend", default=_NOTHING)
_small.serve(SERIAL_MATVEC, SERIAL_BOOL, SERIAL_SUM, _default, _NOTHING)


class set_backend:  # noqa: N801  a function to its users
    """Choose the backend of calls that do not name one.

    Holds in the current context (thread or task), like ``numpy.errstate``: from now on, or, as a context manager,
    until the end of the block. The environment variable ``PARLINALG_BACKEND`` chooses for the whole process.

    Parameters
    ----------
    backend : str or Backend
        A name, ``"auto"``, or an instance of a class in `parlinalg.backends`, such as ``Process(workers=2)``.
    workers : int, optional
        Number of workers of calls that name neither a backend nor a number. None: the backend's own.

    Raises
    ------
    ValueError
        If no backend has this name.
    BackendUnavailable
        If it cannot run here.

    Examples
    --------
    >>> import parlinalg
    >>> with parlinalg.set_backend("numpy"):
    ...     parlinalg.matvec([[1, 2], [3, 4]], [1, 1])
    array([3, 7])
    """

    def __init__(self, backend: str | Backend, workers: int | None = None) -> None:
        chosen = _instance(backend)
        if workers is not None:
            resolve_workers(workers, (default_instance(_auto_name()) if chosen is None else chosen).capacity)
        self._token: Token[tuple[str | Backend | None, int | None]] = _default.set((backend, workers))

    def __enter__(self) -> set_backend:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        _default.reset(self._token)


def choose(plan: MatvecPlan | SumPlan, backend: str | Backend | None, workers: int | None) -> Choice:
    """Choose for one call; the arguments are those of the public functions.

    Raises
    ------
    ValueError
        For an unknown backend, or a number of workers that it cannot use.
    TypeError
        For arguments of other types.
    BackendUnavailable
        If the backend that was asked for cannot run here, or refuses this call.
    """
    backend, workers, reason = _asked_for(backend, workers)
    chosen = _instance(backend)
    if chosen is None:
        return _auto(plan, workers)
    refusal = chosen.refusal(plan)
    if refusal is not None:
        raise BackendUnavailable(f"backend {chosen.name!r} cannot run this call: {refusal}")
    return Choice(chosen, count_workers(chosen, workers), reason)


def _asked_for(backend: str | Backend | None, workers: int | None) -> tuple[str | Backend, int | None, str]:
    if backend is not None:
        return backend, workers, "asked for"
    backend, set_workers = _default.get()
    workers = set_workers if workers is None else workers
    if backend is not None:
        return backend, workers, "chosen by set_backend"
    return os.environ.get("PARLINALG_BACKEND") or "auto", workers, "chosen by PARLINALG_BACKEND"


def asked_for(backend: str | Backend | None) -> str | Backend:
    """The backend of a call: its argument, or what `set_backend` or ``PARLINALG_BACKEND`` say, or "auto"."""
    return _asked_for(backend, None)[0]


def engage(
    function: str,
    plan: MatvecPlan | SumPlan,
    backend: str | Backend | None,
    workers: int | None,
    dtypes: Sequence[np.dtype],
    *details: object,
) -> Choice:
    """`choose`, and let the ranks of the backend, if it has any, agree that they make the same call.

    `dtypes` are those of the operands; `details` decide about the steps of the `function`, besides the plan.
    """
    choice = choose(plan, backend, workers)
    if choice.backend.collective:
        given = ", ".join([*(str(dtype.newbyteorder("=")) for dtype in dtypes), *map(str, details)])
        choice.backend.agree(f"{function} of {given}: {plan}, {choice.workers} workers")
    return choice


def with_ranks(function: str, backend: str | Backend | None) -> MPI:
    """The instance of the mpi backend that is asked for.

    Raises
    ------
    BackendUnavailable
        If another one is.
    """
    chosen = _instance("auto" if backend is None else backend)
    if chosen is None or not chosen.collective:
        name = "auto" if chosen is None else chosen.name
        raise BackendUnavailable(f"{function}: backend {name!r} has no ranks. Use backend='mpi', or an instance of MPI")
    return cast("MPI", chosen)


def tell(error: Exception, backend: str | Backend | None) -> None:
    """Let the ranks of the backend of a call know that it raises `error` here."""
    backend = asked_for(backend)
    if isinstance(backend, str):
        backend = default_instance(backend) if backend == "mpi" and usable(backend) else None
    if isinstance(backend, Backend):
        backend.tell(error)


def collective(function: F) -> F:
    """A public function that tells the other ranks, if its backend has any, of what it raises."""

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except Exception as error:
            tell(error, options.get("backend"))
            raise

    return cast(F, call)


def _instance(backend: str | Backend) -> Backend | None:
    """The instance that `backend` stands for; None for "auto"."""
    if isinstance(backend, str):
        return None if backend == "auto" else default_instance(backend)
    if isinstance(backend, Backend):
        return backend
    raise TypeError(f"backend is {backend!r}; it must be a name, or an instance of a subclass of Backend")


def count_workers(chosen: Backend, workers: SupportsIndex | None) -> int:
    """How many workers a call of this backend uses."""
    if workers is None:
        workers = chosen.workers or default_workers()
        return workers if chosen.capacity is None else min(workers, chosen.capacity)
    return resolve_workers(workers, chosen.capacity)


def _auto_name() -> str:
    return "openmp" if usable("openmp") else "numpy"


def _auto(plan: MatvecPlan | SumPlan, workers: int | None) -> Choice:
    if _auto_name() == "numpy":
        return Choice(default_instance("numpy"), 1, f"backend 'openmp' cannot run here: {_why_not_openmp()}")
    openmp = default_instance("openmp")
    if workers is not None:
        return Choice(openmp, count_workers(openmp, workers), "so many workers were asked for")
    limit = _serial_limit(plan)
    if plan.elements < limit:
        return Choice(openmp, 1, f"{plan.elements} elements, below {limit}: threads would cost more than they save")
    return Choice(openmp, count_workers(openmp, None), f"{plan.elements} elements, {limit} or more: threads pay")


def _serial_limit(plan: MatvecPlan | SumPlan) -> int:
    if isinstance(plan, SumPlan):
        return SERIAL_SUM
    if plan.exact:
        return SERIAL_EXACT
    return SERIAL_BOOL if plan.dtype.kind == "b" else SERIAL_MATVEC


def _why_not_openmp() -> str | None:
    return backend_class("openmp").why_not()
