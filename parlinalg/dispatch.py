"""Which backend computes a call, with how many workers, and why."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from functools import cache, wraps
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, TypeVar, cast

import numpy as np

from . import _kernels, _small
from .backends._base import Backend
from .backends._numpy import SILENT
from .errors import BackendUnavailable
from .model import Model, kind_of
from .plan import MatvecPlan, SumPlan
from .probe import scaled_to_this_host
from .profiles import builtin, default_path, is_named, stored
from .registry import backend_class, default_instance, usable
from .workers import default_workers, limits_of_host, ranks_of_job, resolve_workers

if TYPE_CHECKING:
    from .backends._mpi import MPI

__all__ = [
    "Choice",
    "asked_for",
    "choose",
    "collective",
    "count_workers",
    "current_model",
    "engage",
    "kind_of_plan",
    "set_backend",
    "tell",
    "use_model",
    "wants_exact",
    "with_ranks",
]

F = TypeVar("F", bound=Callable[..., Any])


class Choice(NamedTuple):
    """Who computes a call, and why."""

    backend: Backend
    workers: int
    reason: str

    def __str__(self) -> str:
        plural = "" if self.workers == 1 else "s"
        return f"{self.backend.name}, {self.workers} worker{plural}: {self.reason}"


PREDICTED = "the least time is predicted"
LATE = "threads came late just now: other programs keep the processors busy"
LOGGER = "parlinalg.dispatch"
KINDS = (  # in the order of `_small`
    ("matvec", "rows"),
    ("matvec", "columns"),
    ("matvec", "other"),
    ("matvec", "short"),
    ("sum", "rows"),
    ("sum", "other"),
)
FIRST_PAUSE, LONGER = 1.0, 4  # seconds until a doubted probe is repeated, and how many times as many each time

_models: list[Model] = []  # one, or none so far
_model_lock = RLock()  # signal handlers and finalizers may call us
_pause = FIRST_PAUSE


class _Default(NamedTuple):
    """What `set_backend` was told."""

    backend: str | Backend | None = None
    workers: int | None = None
    deterministic: bool = False


_NOTHING = _Default()
_default = ContextVar("parlinalg_backend", default=_NOTHING)


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
    deterministic : bool
        Let products have the same bits on every backend, for every number of workers and in every layout: as if
        all of them said ``exact=True``. Sums have them anyway.

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

    def __init__(
        self, backend: str | Backend = "auto", workers: int | None = None, *, deterministic: bool = False
    ) -> None:
        chosen = _instance(backend)
        if workers is not None:
            resolve_workers(workers, (default_instance(_auto_name()) if chosen is None else chosen).capacity)
        _small.note_choice()
        self._token: Token[_Default] = _default.set(_Default(backend, workers, bool(deterministic)))

    def __enter__(self) -> set_backend:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        _default.reset(self._token)


def choose(
    plan: MatvecPlan | SumPlan,
    backend: str | Backend | None,
    workers: int | None,
    layout: str = "rows",
    *,
    stays: bool = False,
) -> Choice:
    """Choose for one call; the arguments are those of the public functions, and what `layout_of` says of the matrix.

    `stays`: the matrix is placed for many products.

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
        return (_device(plan, layout) if stays and workers is None else None) or _auto(plan, workers, layout)
    refusal = chosen.refusal(plan)
    if refusal is not None:
        raise BackendUnavailable(f"backend {chosen.name!r} cannot run this call: {refusal}")
    return Choice(chosen, count_workers(chosen, workers), reason)


def _asked_for(backend: str | Backend | None, workers: int | None) -> tuple[str | Backend, int | None, str]:
    if backend is not None:
        return backend, workers, "asked for"
    backend, set_workers, _ = _default.get()
    workers = set_workers if workers is None else workers
    if backend is not None:
        return backend, workers, "chosen by set_backend"
    return _small.setting(b"PARLINALG_BACKEND") or "auto", workers, "chosen by PARLINALG_BACKEND"


def asked_for(backend: str | Backend | None) -> str | Backend:
    """The backend of a call: its argument, or what `set_backend` or ``PARLINALG_BACKEND`` say, or "auto"."""
    return _asked_for(backend, None)[0]


def wants_exact(exact: bool) -> bool:
    """Whether each element of a product is to be rounded once: the caller says so, or `set_backend` did."""
    return bool(exact) or _default.get().deterministic


def engage(
    function: str,
    plan: MatvecPlan | SumPlan,
    backend: str | Backend | None,
    workers: int | None,
    dtypes: Sequence[np.dtype],
    *details: object,
    layout: str = "rows",
    stays: bool = False,
) -> Choice:
    """`choose`, and let the ranks of the backend, if it has any, agree that they make the same call.

    `dtypes` are those of the operands; `details` decide about the steps of the `function`, besides the plan.
    """
    choice = choose(plan, backend, workers, layout, stays=stays)
    _log(function, plan, choice)
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

    backend = (function.__kwdefaults__ or {}).get("backend")

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except Exception as error:
            tell(error, options.get("backend", backend))
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


def _auto(plan: MatvecPlan | SumPlan, workers: int | None, layout: str) -> Choice:
    if _auto_name() == "numpy":
        return Choice(default_instance("numpy"), 1, f"backend 'openmp' cannot run here: {_why_not_openmp()}")
    openmp = default_instance("openmp")
    if workers is not None:
        return Choice(openmp, count_workers(openmp, workers), "so many workers were asked for")
    best = current_model().choose(kind_of_plan(plan, layout), plan.elements * plan.itemsize)
    if best.backend == "numpy":
        return Choice(_blas(), 1, PREDICTED)
    if best.workers == 1:
        return Choice(openmp, 1, PREDICTED)
    if _kernels.threads_are_late():
        return Choice(openmp, 1, LATE)
    return Choice(openmp, min(best.workers, default_workers()), PREDICTED)


def _device(plan: MatvecPlan | SumPlan, layout: str) -> Choice | None:
    """The device on which an operator is worth the upload, by the profile of this host."""
    nbytes = plan.elements * plan.itemsize
    name = current_model().worth_placing(kind_of_plan(plan, layout), nbytes)
    if name is None or not usable(name):
        return None
    backend = default_instance(name)
    if nbytes > backend.room() or backend.refusal(plan) is not None:
        return None
    return Choice(backend, count_workers(backend, None), "much less time is predicted, placing included")


@cache
def _blas() -> Backend:
    """NumPy without its reports, which would come or not by the size of a product."""
    return backend_class("numpy")(reports=False)  # type: ignore[call-arg]


def kind_of_plan(plan: MatvecPlan | SumPlan, layout: str) -> str:
    """What `Model` calls it."""
    if isinstance(plan, SumPlan):
        return kind_of("sum", plan.given, layout)
    return kind_of("exact" if plan.exact else "matvec", plan.dtype, layout)


def current_model() -> Model:
    """The profile of this host; without one, what is built in, as a probe of some milliseconds scales it.

    Found when it is needed first. A probe that finds that threads are slow here may have met a moment in which other
    programs kept the processors busy: it is repeated, after pauses that become longer. Ranks of MPI, which may be on
    different hosts, take the profile that the environment names, or what is built in, so that they choose alike.
    """
    with _model_lock:
        if not _models or _small.steps_are_old():
            _use(_find_model())
        return _models[0]


def _find_model() -> Model:
    alone = ranks_of_job() == 1
    model = stored(default_path()) if alone or is_named() else None
    if model is not None:
        return model
    return scaled_to_this_host(builtin(), default_workers()) if alone else builtin()


def use_model(model: Model) -> None:
    """Choose by this model from now on."""
    with _model_lock:
        _use(model)


def _use(model: Model) -> None:
    global _pause
    _models[:] = [model]
    _small.forget_steps(_pause if model.doubted else math.inf)
    _pause = LONGER * _pause if model.doubted else FIRST_PAUSE


def _steps_of(character: str, kind: int) -> list[tuple[int, int]]:
    """For compiled code: below how many bytes so many threads compute, or NumPy, by the number of the kind."""
    operation, layout = KINDS[kind]
    return [
        (int(min(nbytes, sys.maxsize)), _small.BY_NUMPY if best.backend == "numpy" else best.workers)
        for nbytes, best in current_model().steps(kind_of(operation, np.dtype(character), layout))
    ]


def _log(function: str, plan: MatvecPlan | SumPlan, choice: Choice) -> None:
    logging = sys.modules.get("logging")  # who has not imported it has not asked for anything
    if logging is not None:
        logger = logging.getLogger(LOGGER)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s of %s: %s", function, plan, choice)


def _renew_lock() -> None:
    global _model_lock
    _model_lock = RLock()


os.register_at_fork(after_in_child=_renew_lock)  # another thread may have held it
_small.serve(_default, _NOTHING, SILENT, limits_of_host, _steps_of)


def _why_not_openmp() -> str | None:
    return backend_class("openmp").why_not()
