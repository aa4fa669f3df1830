"""What a worker does with a task, whatever kind of worker it is."""

from __future__ import annotations

import os
import pickle
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import cloudpickle

from ..backends._engine import host
from ._base import Chunk, Record

__all__ = ["Done", "do", "do_chunk", "dump", "failed", "load_failure", "placed_in_time"]


def dump(value: Any) -> bytes:
    """Pickle; functions that no module has, as lambdas and those of ``__main__``, by value."""
    data: bytes = cloudpickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return data


def do(function: Callable[[Any], Any], task: int, item: bytes, worker: int) -> Record:
    """Call the function; an exception becomes the payload."""
    started = time.monotonic()
    try:
        result = function(pickle.loads(item))
        finished = time.monotonic()
        return Record(task, worker, os.getpid(), started, finished, True, dump(result))
    except Exception as error:  # noqa: BLE001  whatever it is, the caller must hear of it
        return Record(task, worker, os.getpid(), started, time.monotonic(), False, failed(error))


def failed(error: Exception) -> bytes:
    """An exception with its traceback as text; where it cannot be pickled, its text."""
    text = "".join(traceback.format_exception(error))
    try:
        data = dump(error.with_traceback(None))
        pickle.loads(data)  # many can be pickled but not unpickled
    except Exception:  # noqa: BLE001  their own code, which may raise anything
        data = dump(RuntimeError(f"{type(error).__name__}: {error}"))
    return pickle.dumps((data, text))


def load_failure(payload: bytes) -> tuple[Exception, str]:
    """The exception, and its traceback as text."""
    data, text = pickle.loads(payload)
    return pickle.loads(data), text


class Done(NamedTuple):
    """A chunk that was done elsewhere, with the times there of its arrival and its end."""

    host: str
    arrived: float
    left: float
    records: list[Record]


def do_chunk(function: bytes, chunk: Chunk, worker: int) -> Done:
    """Do all tasks of a chunk."""
    arrived = time.monotonic()
    call = pickle.loads(function)
    records = [do(call, task, item, worker) for task, item in chunk]
    return Done(host(), arrived, time.monotonic(), records)


def placed_in_time(done: Done, sent: float, received: float) -> list[Record]:
    """The records in the time of this host.

    The clock of another one is compared by assuming that the message took as long there as the answer took back.
    """
    if done.host == host():
        return done.records
    ahead = ((done.arrived - sent) + (done.left - received)) / 2
    return [one._replace(started=one.started - ahead, finished=one.finished - ahead) for one in done.records]
