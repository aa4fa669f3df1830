"""Tasks in the caller, one after the other."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from ._base import Chunk, Event, Executor
from ._task import do

__all__ = ["Serial"]


class Serial(Executor):
    """One worker, which is the caller."""

    size = 1
    streams = True

    def __init__(self, function: bytes) -> None:
        self._function = pickle.loads(function)
        self._chunk: list[tuple[int, bytes]] = []

    def start(self, worker: int, chunk: Chunk) -> None:
        self._chunk = list(chunk)

    def wait(self) -> Sequence[Event]:
        task, item = self._chunk.pop(0)
        return [Event(0, [do(self._function, task, item, 0)], not self._chunk)]

    def replace(self, worker: int) -> bool:
        return False

    def close(self, cancel: bool) -> None:
        self._chunk.clear()
