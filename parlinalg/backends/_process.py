"""Processes of this host, that map the same memory: a team that stays up between calls."""

from __future__ import annotations

import os
import pickle
import select
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import SupportsIndex

from ..errors import BackendError
from ..workers import MOST_THREADS, check_threads, resolve_workers
from ._base import Array
from ._launch import LOOK, Stopped, WorkerProcess, end
from ._separate import Failure, SeparateMemory, Task
from ._shared import KIND, Segment, Source
from ._sharing import Pieces, SharingTeam
from ._worker import Call

__all__ = ["Process"]

dump_task = lru_cache(maxsize=64)(pickle.dumps)


class Process(SeparateMemory):
    """Processes that stay up between calls and share the memory of the operands.

    A matrix is copied into shared memory once, each process has a block of its rows, and results are written in
    place. A memory map (``numpy.load(path, mmap_mode="r")``, or a path given to ``operator``) is not copied: each
    process maps its rows of the file. An array to be summed is copied for each call, unless it is a memory map.

    Parameters
    ----------
    workers : int, optional
        Number of processes that a call uses which does not say, and the most that one can use. None: that of this
        host, and as many as are asked for. They start with the first call.
    threads : int
        That each process computes with.

    Notes
    -----
    The processes run this Python, import parlinalg but not your program, and end with this process, however it ends.
    A process that is forked from this one gets a team of its own.
    """

    name = "process"
    capacity = MOST_THREADS

    def __init__(self, workers: SupportsIndex | None = None, threads: int = 1) -> None:
        if workers is not None:
            self.workers = self.capacity = resolve_workers(workers, type(self).capacity)
        self.threads = check_threads("Process", threads)
        self._team = ProcessTeam(self.threads)

    @property
    def team(self) -> ProcessTeam:
        return self._team

    @classmethod
    def why_not(cls) -> str | None:
        if os.name != "posix":
            return "its workers pass each other open files, which needs Linux or macOS. Use backend='openmp'"
        if not sys.executable:
            return "sys.executable is empty, so the Python to start is not known. Set it, or use backend='openmp'"
        return None

    @classmethod
    def version(cls) -> str:
        return f"Python {'.'.join(map(str, sys.version_info[:3]))}, {KIND}"


class ProcessTeam(SharingTeam):
    """Worker processes, started when a call needs them; killed, and started anew by the next call, after a fault."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = threads
        self._workers: list[Worker] = []
        # Also at interpreter exit. It must not hold the team itself.
        weakref.finalize(self, end, self._workers)

    def close(self) -> None:
        self.require_own()
        with self._lock:
            end(self._workers)
            self.renew()

    def after_fork(self) -> None:
        """In a process forked from the one that the workers serve: leave them alone, and start anew."""
        end(self._workers)
        super().after_fork()

    def run(
        self, task: Task, pieces: Pieces, args: Sequence[Array], outs: Sequence[Array], scratch: Segment
    ) -> list[Failure | int | None]:
        while len(self._workers) < len(pieces):
            self._workers.append(Worker(len(self._workers), self._threads))
        workers = self._workers[: len(pieces)]
        given = tuple(scratch.part(arg) for arg in args)
        pickled = dump_task(task)
        for worker, (rows, source, layout), out in zip(workers, pieces, outs, strict=True):
            worker.start((pickled, layout, (rows.start, rows.stop), given, scratch.part(out)), (source, scratch))
        return _answers(workers)

    def forget(self, sources: Sequence[Source]) -> None:
        for worker in self._workers:
            worker.forget(sources)

    def give_up(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        end(self._workers)


class Worker(WorkerProcess):
    """One worker process, and what it has mapped."""

    def __init__(self, number: int, threads: int) -> None:
        super().__init__(number, threads, "parlinalg.backends._worker")
        self._known: set[int] = set()  # keys of regions

    def start(self, call: Call, sources: Sequence[Source]) -> None:
        new = [source for source in sources if source.region.key not in self._known]
        self.send(((), tuple(source.region[:] for source in new), call), [source.file for source in new])
        self._known.update(source.region.key for source in new)

    def forget(self, sources: Sequence[Source]) -> None:
        stale = tuple(source.region.key for source in sources if source.region.key in self._known)
        if stale:
            self._known.difference_update(stale)
            with suppress(BackendError):  # the next call will notice
                self.send((stale, (), None))

    def answer(self) -> Failure | int | None:
        outcome = self.receive()
        return Failure(*outcome) if isinstance(outcome, tuple) else outcome


def _answers(workers: Sequence[Worker]) -> list[Failure | int | None]:
    """What each worker answers, whichever is first, so that one that died is noticed while others compute."""
    waiting = {worker.link.fileno(): worker for worker in workers}
    outcomes: dict[int, Failure | int | None] = {}
    poll = select.poll()
    for link in waiting:
        poll.register(link, select.POLLIN)
    stopped = {link: Stopped() for link in waiting}
    while len(outcomes) < len(workers):
        ready = poll.poll(LOOK)
        for link in waiting if not ready else ():
            if waiting[link].number not in outcomes and stopped[link].look(waiting[link].process.pid):
                raise waiting[link].lost("is stopped")
        for link, _ in ready:
            poll.unregister(link)
            outcomes[waiting[link].number] = waiting[link].answer()
    return [outcomes[worker.number] for worker in workers]
