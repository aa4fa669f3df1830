"""Tasks that come back as futures, a chunk at a time: on engines of IPython, and on ranks of MPI."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from typing import Any, NamedTuple

from ..errors import BackendError
from ._base import Chunk, Event, Executor
from ._task import placed_in_time

__all__ = ["Futures"]

LOOK = 0.5  # seconds after which it is asked whether the workers live


class Futures(Executor):
    """An executor whose workers return futures."""

    def __init__(self, function: bytes, size: int) -> None:
        self.size = size
        self._function = function
        self._calls: dict[Future[Any], _Call] = {}

    @abstractmethod
    def submit(self, worker: int, *arguments: Any) -> Future[Any]:
        """Let this worker call ``do_chunk(*arguments)``."""

    def require_alive(self, worker: int) -> None:
        """Raise `BackendError` if this worker is dead, where that is not told by its future."""

    def require_all(self) -> None:
        """Raise `BackendError` if no worker can answer any longer."""

    def start(self, worker: int, chunk: Chunk) -> None:
        sent = time.monotonic()
        self._calls[self.submit(worker, self._function, list(chunk), worker)] = _Call(worker, sent)

    def wait(self) -> Sequence[Event]:
        while True:
            done, waiting = wait_for(list(self._calls), LOOK, FIRST_COMPLETED)
            events = [self._event(self._calls.pop(future), future) for future in done]
            for future in list(waiting):
                try:
                    self.require_alive(self._calls[future].worker)
                except BackendError as error:
                    events.append(Event(self._calls.pop(future).worker, [], False, str(error)))
            if events:
                return events
            self.require_all()

    def replace(self, worker: int) -> bool:
        return False

    def _event(self, call: _Call, future: Future[Any]) -> Event:
        received = time.monotonic()
        try:
            done = future.result(0)
        except Exception as error:  # noqa: BLE001  of the messages, not of a task: whatever it is, the chunk is lost
            return Event(call.worker, [], False, f"{type(error).__name__}: {error}")
        return Event(call.worker, placed_in_time(done, call.sent, received), True)


class _Call(NamedTuple):
    worker: int
    sent: float
