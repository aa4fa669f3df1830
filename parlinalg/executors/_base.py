"""The contract of an executor, and what a task leaves behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

__all__ = ["Chunk", "Event", "Executor", "Record"]

Chunk = Sequence[tuple[int, bytes]]  # tasks to do one after the other: the index of an item, and the item, pickled


class Record(NamedTuple):
    """What one task leaves behind. Times are of `time.monotonic` on the caller's host."""

    task: int  # index of its item
    worker: int
    process: int
    started: float
    finished: float
    succeeded: bool
    payload: bytes  # the pickled result, or what `failed` of the module _task made of an exception


class Event(NamedTuple):
    """What `Executor.wait` tells of a worker."""

    worker: int
    records: Sequence[Record]
    free: bool  # whether it has done its chunk
    death: str | None = None  # how it died


class Executor(ABC):
    """Some workers, each of which does one chunk at a time; a context manager.

    When left by an exception, it does not wait for tasks that run.
    """

    size: int  # number of workers
    streams: bool = False  # whether records come one by one, so that it is known in which task a worker died

    @abstractmethod
    def start(self, worker: int, chunk: Chunk) -> None:
        """Give a free worker something to do."""

    @abstractmethod
    def wait(self) -> Sequence[Event]:
        """Wait until there is something to tell."""

    @abstractmethod
    def replace(self, worker: int) -> bool:
        """Start another worker in the place of one that has died, if that can be done."""

    @abstractmethod
    def close(self, cancel: bool) -> None:
        """End what was started; if `cancel`, also tasks that run, where that can be done."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close(cancel=error is not None)
