"""Tasks on engines of an IPython cluster."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

from ..backends._ipyparallel import IPyParallel
from ._futures import Futures
from ._task import do_chunk

__all__ = ["Engines"]

ASK = 2.0  # seconds after which the controller is asked whether it lives


class Engines(Futures):
    """The engines of a backend, which stay up."""

    def __init__(self, function: bytes, backend: IPyParallel, size: int) -> None:
        self._team = backend.team
        self._engines = self._team.engines(size)
        self._asked = time.monotonic()
        super().__init__(function, len(self._engines))

    def submit(self, worker: int, *arguments: Any) -> Future[Any]:
        future: Future[Any] = self._engines[worker].view.apply_async(do_chunk, *arguments)
        return future

    def require_alive(self, worker: int) -> None:
        self._engines[worker].require_alive()

    def require_all(self) -> None:
        if time.monotonic() - self._asked > ASK:
            self._team.require_controller()
            self._asked = time.monotonic()

    def close(self, cancel: bool) -> None:
        """Tasks that engines have begun go on: only a signal could stop them, and the engines may be the user's."""
        for future in self._calls:
            future.cancel()
