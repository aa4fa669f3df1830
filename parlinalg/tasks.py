"""``pmap``: call a function for many items, on workers."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, SupportsIndex

import numpy as np

from .backends._base import Backend
from .backends._ipyparallel import IPyParallel
from .backends._mpi import MPI
from .backends._process import Process
from .backends._separate import RemoteTraceback
from .dispatch import count_workers
from .executors._base import Executor, Record
from .executors._ipyparallel import Engines
from .executors._mpi import Outcome, executor_of_server, map_on_ranks, runs_server
from .executors._process import INSIDE, Processes
from .executors._serial import Serial
from .executors._task import dump, load_failure
from .registry import default_instance
from .schedule import SCHEDULES, Schedule
from .taskmap import TIMELINE, TaskError, TaskMap

__all__ = ["BACKENDS", "pmap"]

BACKENDS = ("process", "ipyparallel", "mpi", "serial")


def pmap(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    backend: str | Backend = "process",
    workers: SupportsIndex | None = None,
    schedule: str = "static",
    chunksize: int | None = None,
    progress: bool = False,
) -> TaskMap:
    """Call ``function(item)`` for each item, on several workers, and note when each call ran where.

    Parameters
    ----------
    function : callable
        Sent to the workers: a function of a module by its name, others, as lambdas and those of a script or notebook,
        by their code.
    items : iterable
        Sent to the workers one by one.
    backend : {"process", "ipyparallel", "mpi", "serial"}, or an instance of Process, IPyParallel or MPI
        "process": processes of this host, which run nothing of the program but the function. "ipyparallel": engines.
        "mpi": the ranks but the first; every rank makes the call and gets the results. Under ``python -m
        mpi4py.futures`` the first rank alone makes it. "serial": the caller.
    workers : int, optional
        As in `matvec`.
    schedule : {"static", "dynamic"}
        "static": each worker gets an equal share in advance. "dynamic": whoever is free gets the next.
    chunksize : int, optional
        How many tasks are sent to a worker at a time. None: its share if static, otherwise 1.
    progress : bool
        Whether to draw a progress bar on standard error.

    Returns
    -------
    TaskMap
        A sequence of the results in the order of the items, with the timeline.

    Raises
    ------
    TaskError
        If a task raised, or its worker died. All others were done, and are in the error's ``taskmap``.
    TypeError, ValueError
        For a function or an item that cannot be sent, and for wrong options.
    BackendUnavailable, BackendError
        As in `matvec`.

    Notes
    -----
    Ctrl-C ends the map: what has not started does not start, and processes are ended. A map inside of a task of the
    process backend is serial. Results are unpickled by the caller, which therefore trusts its workers.

    Examples
    --------
    >>> import parlinalg
    >>> list(parlinalg.pmap(abs, [3, -4], workers=2))
    [3, 4]
    """
    kind, instance = _backend(backend)
    try:
        _check(function, schedule, chunksize)
        given = _listed(items)
        code = _dumped(function, "function")
        pickled = [_dumped(item, f"items[{index}]") for index, item in enumerate(given)]
        run = partial(_run, pickled, schedule == "static", chunksize, progress)
        if isinstance(instance, MPI):
            call = f"pmap of {len(given)} items, {schedule}, chunksize={chunksize}, workers={workers}"
            outcome = map_on_ranks(instance, code, len(given), workers, call, run)
        else:
            with _executor(kind, instance, code, len(given), workers) as executor:
                outcome = run(executor)
    except Exception as error:
        if instance is not None:
            instance.tell(error)
        raise
    return _collected(*outcome)


def _listed(items: Any) -> list[Any]:
    try:
        return list(items)
    except TypeError as error:
        if hasattr(type(items), "__iter__"):
            raise  # by what it yields
        raise TypeError(f"pmap: items is {items!r}, which is not iterable") from error


def _check(function: object, schedule: str, chunksize: int | None) -> None:
    if not callable(function):
        raise TypeError(f"pmap: function is {function!r}; it must be callable")
    if schedule not in SCHEDULES:
        raise ValueError(f"pmap: schedule is {schedule!r}; it must be one of {', '.join(map(repr, SCHEDULES))}")
    if chunksize is not None and (isinstance(chunksize, bool) or not isinstance(chunksize, int) or chunksize < 1):
        raise ValueError(f"pmap: chunksize is {chunksize!r}; it must be an int of 1 or more, or None")


def _dumped(value: Any, name: str) -> bytes:
    try:
        return dump(value)
    except Exception as error:  # of the value's own code, or of pickle, which raises whatever it likes
        raise TypeError(f"pmap: {name} cannot be sent to a worker: {type(error).__name__}: {error}") from error


def _backend(backend: str | Backend) -> tuple[str, Backend | None]:
    if isinstance(backend, Backend):
        name, instance = backend.name, backend
    else:
        name, instance = backend, None
    if name not in BACKENDS:
        raise ValueError(f"pmap: backend is {backend!r}; it must be one of {', '.join(map(repr, BACKENDS))}")
    if instance is None and name != "serial" and not (name == "mpi" and runs_server()):
        instance = default_instance(name)
    return name, instance


def _executor(kind: str, instance: Backend | None, code: bytes, count: int, workers: SupportsIndex | None) -> Executor:
    if kind == "mpi" and count:
        return executor_of_server(code, count, workers)
    size = min(count, count_workers(instance or default_instance("numpy"), workers))
    if size == 0 or instance is None or (kind == "process" and INSIDE in os.environ):
        return Serial(code)
    if isinstance(instance, IPyParallel):
        return Engines(code, instance, size)
    assert isinstance(instance, Process)
    return Processes(code, size, instance.threads)


def _run(pickled: Sequence[bytes], static: bool, chunksize: int | None, progress: bool, executor: Executor) -> Outcome:
    schedule = Schedule(pickled, executor, static, chunksize)
    with _bar(progress, len(pickled)) as tell:
        records = list(schedule.run(tell))
    return Outcome(records, schedule.submitted, executor.size)


@contextmanager
def _bar(progress: bool, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of tasks that were done."""
    if not progress:
        yield lambda done: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError as error:
        text = 'a progress bar needs the package rich. Install it: pip install "parlinalg[cli]"'
        raise ImportError(text) from error
    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("tasks", total=total)
        yield lambda done: bars.advance(bar, done)


def _collected(records: Sequence[Record], submitted: Sequence[float], size: int) -> TaskMap:
    """The map, of records in any order; raise if a task failed."""
    timeline = np.zeros(len(records), TIMELINE)
    results: list[Any] = [None] * len(records)
    failures: dict[int, Exception] = {}
    first = min(submitted, default=0.0)
    for one in records:
        times = submitted[one.task] - first, one.started - first, one.finished - first
        timeline[one.task] = (one.task, one.worker, one.process, *times)
        try:
            results[one.task] = _result(one)
        except Exception as error:  # noqa: BLE001  what the task raised
            results[one.task] = failures[one.task] = error
    taskmap = TaskMap(results, timeline, size)
    if failures:
        index = min(failures)
        many = f" (and {len(failures) - 1} others)" if len(failures) > 1 else ""
        cause = failures[index]
        text = f"pmap: the task of items[{index}]{many} raised {type(cause).__name__}: {cause}"
        raise TaskError(text, failures, taskmap) from cause
    return taskmap


def _result(record: Record) -> Any:
    if record.succeeded:
        return pickle.loads(record.payload)
    error, text = load_failure(record.payload)
    raise error from RemoteTraceback(text)
