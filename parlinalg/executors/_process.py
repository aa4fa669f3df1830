"""Tasks in processes of this host, which end with the caller, and do not import its ``__main__``."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from ..backends._launch import LOOK, Stopped, WorkerProcess, end
from ..backends._worker import end_with_parent, receive, send
from ..errors import BackendError
from ._base import Chunk, Event, Executor, Record
from ._task import do

__all__ = ["INSIDE", "Processes", "main"]

INSIDE = "PARLINALG_INSIDE_TASK"  # set in the workers, so that maps inside of tasks are serial
MODULE = "parlinalg.executors._process"


class Processes(Executor):
    """Worker processes for one map."""

    streams = True

    def __init__(self, function: bytes, size: int, threads: int) -> None:
        self.size = size
        self._function = function
        self._threads = threads
        self._workers: list[WorkerProcess] = []
        self._left = [0] * size  # tasks of its chunk that each has not answered
        for number in range(size):
            self._workers.append(self._new(number))
        for worker in self._workers:
            with suppress(BackendError):  # it has died already, which the first answer will tell
                worker.receive()  # that it is ready, so that the time to start is not taken for that of tasks

    def _new(self, number: int) -> WorkerProcess:
        worker = WorkerProcess(number, self._threads, MODULE, {INSIDE: "1"})
        with suppress(BackendError):  # as above
            worker.send(self._function)
        return worker

    def start(self, worker: int, chunk: Chunk) -> None:
        self._left[worker] = len(chunk)
        with suppress(BackendError):  # as above
            self._workers[worker].send(list(chunk))

    def wait(self) -> Sequence[Event]:
        poll = select.poll()
        busy = {self._workers[number].link.fileno(): number for number in range(self.size) if self._left[number]}
        for link in busy:
            poll.register(link, select.POLLIN)
        stopped = {number: Stopped() for number in busy.values()}
        while True:
            ready = poll.poll(LOOK)
            if ready:
                return [self._event(busy[link]) for link, _ in ready]
            for number, looks in stopped.items():
                if looks.look(self._workers[number].process.pid):
                    self._left[number] = 0
                    return [Event(number, [], False, str(self._workers[number].lost("is stopped")))]

    def _event(self, number: int) -> Event:
        try:
            fields = self._workers[number].receive()
        except BackendError as error:
            self._left[number] = 0
            return Event(number, [], False, str(error))
        self._left[number] -= 1
        return Event(number, [Record(*fields)], not self._left[number])

    def replace(self, worker: int) -> bool:
        self._workers[worker].process.kill()  # it may be stopped
        end([self._workers[worker]])
        self._workers[worker] = self._new(worker)
        with suppress(BackendError):
            self._workers[worker].receive()
        return True

    def close(self, cancel: bool) -> None:
        if cancel:
            for worker in self._workers:
                worker.process.kill()
        end(self._workers)


def main(worker: int, link: int) -> None:
    """Serve the parent at the other end of the socket `link`, until it closes it or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the parent
    end_with_parent()
    with socket.socket(fileno=link) as parent, suppress(EOFError, ConnectionError):  # it was closed
        function, _ = receive(parent)
        try:
            call = pickle.loads(function)
        except Exception as error:  # noqa: BLE001  its module may be missing here, or fail in any way
            call = _Failing(error)
        send(parent, "ready")
        while True:
            chunk, _ = receive(parent)
            for task, item in chunk:
                send(parent, tuple(do(call, task, item, worker)))


class _Failing:
    """Stands for a function that cannot be loaded."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, item: object) -> object:
        raise BackendError(f"process {os.getpid()} could not load the function: {self.error}") from self.error
