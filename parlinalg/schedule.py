"""Which worker does which task, and when: equal shares in advance, or whoever is free takes the next."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from .errors import BackendError
from .executors._base import Chunk, Event, Executor, Record
from .executors._task import failed
from .split import blocks

__all__ = ["SCHEDULES", "Schedule"]

SCHEDULES = ("static", "dynamic")


class Schedule:
    """The tasks of one map on their way through the workers of an executor.

    Parameters
    ----------
    items : sequence of bytes
        Pickled.
    executor : Executor
    static : bool
        Whether worker i gets the i-th of equal blocks; otherwise all take from one queue.
    chunksize : int or None
        Tasks that a worker is given at a time. None: its block, or one.
    """

    def __init__(self, items: Sequence[bytes], executor: Executor, static: bool, chunksize: int | None) -> None:
        self._items = items
        self._executor = executor
        shared: deque[range] = deque()
        size = executor.size
        if static:
            self._queues = [deque(_cut(block, chunksize or max(1, len(block)))) for block in blocks(len(items), size)]
        else:
            shared.extend(_cut(range(len(items)), chunksize or 1))
            self._queues = [shared] * size
        self._doing: dict[int, deque[int]] = {}  # of each busy worker, the tasks that it has not answered
        self._dead: set[int] = set()
        self.submitted = [0.0] * len(items)

    def run(self, tell: Callable[[int], None]) -> Iterator[Record]:
        """Do all tasks; ``tell(n)`` each time that n more are done."""
        while self._start_the_free():
            for event in self._executor.wait():
                records = [*event.records, *self._handle(event)]
                tell(len(records))
                yield from records

    def _start_the_free(self) -> bool:
        """Whether somebody works."""
        for worker in range(self._executor.size):
            if worker not in self._doing and worker not in self._dead and (chunk := self._next(worker)):
                self._doing[worker] = deque(chunk)
                now = time.monotonic()
                for task in chunk:
                    self.submitted[task] = now
                self._executor.start(worker, self._pickled(chunk))
        return bool(self._doing)

    def _next(self, worker: int) -> Sequence[int] | None:
        """What it is to do; if it has nothing left, what the dead have left."""
        for queue in (self._queues[worker], *(self._queues[dead] for dead in self._dead)):
            if queue:
                return queue.popleft()
        return None

    def _pickled(self, chunk: Sequence[int]) -> Chunk:
        return [(task, self._items[task]) for task in chunk]

    def _handle(self, event: Event) -> Iterator[Record]:
        """Note what an event says; the records of tasks that died with their worker."""
        for record in event.records:
            self._doing[event.worker].remove(record.task)
        if event.free:
            del self._doing[event.worker]
        elif event.death is not None:
            yield from self._bury(event.worker, event.death)

    def _bury(self, worker: int, death: str) -> Iterator[Record]:
        lost = self._doing.pop(worker)
        if self._executor.streams and len(lost) > 1:  # it was in the first of them
            self._queues[worker].appendleft(range(lost[0] + 1, lost[-1] + 1))
            lost = deque([lost[0]])
        if not self._executor.replace(worker):
            self._dead.add(worker)
        now = time.monotonic()
        for task in lost:
            yield Record(task, worker, 0, now, now, False, failed(BackendError(death)))
        if len(self._dead) == self._executor.size:
            for queue in self._queues:
                for task in (task for chunk in queue for task in chunk):
                    yield Record(task, worker, 0, now, now, False, failed(BackendError(death)))
                queue.clear()


def _cut(tasks: range, chunksize: int) -> Iterator[range]:
    for first in range(tasks.start, tasks.stop, chunksize):
        yield range(first, min(first + chunksize, tasks.stop))
