"""Processes of this host, that map the same memory: a team that stays up between calls."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import SupportsIndex

from ..errors import BackendError
from ..workers import MOST_THREADS, check_threads, resolve_workers
from ._base import Array
from ._separate import Failure, SeparateMemory, Task
from ._shared import KIND, Segment, Source, anonymous_file
from ._sharing import Pieces, SharingTeam
from ._worker import Call, Message, receive, send

__all__ = ["Process"]

# Not multiprocessing: its children import the user's __main__, which has to be guarded for it.
CODE = """
import sys
worker, link, *sys.path[:] = sys.argv[1:]
from parlinalg.backends._worker import main
main(int(worker), int(link))
"""
THREADS_OF = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB")  # libraries that read <name>_NUM_THREADS when they load
SECONDS_TO_END = 2.0  # granted to a worker before it is killed
SIGNALS = {sig.value: sig.name for sig in signal.Signals}
LOG_TAIL = 2000  # characters of what a dead worker wrote that its error shows


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


class Worker:
    """One worker process, as its parent sees it."""

    def __init__(self, number: int, threads: int) -> None:
        self.number = number
        self.parent = os.getpid()
        self.answered = False
        self._known: set[int] = set()  # keys of the regions that it has mapped
        self._log = os.fdopen(anonymous_file("parlinalg-log"), "w+b")
        self.link, theirs = socket.socketpair()
        paths = [path or os.getcwd() for path in sys.path if isinstance(path, str)]
        command = [sys.executable, "-c", CODE, str(number), str(theirs.fileno()), *paths]
        try:
            with theirs:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,  # never written to: it ends when this process does
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    bufsize=0,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C in the terminal is for this process only
                    env=os.environ | {f"{name}_NUM_THREADS": str(threads) for name in THREADS_OF},
                )
        except BaseException as error:  # also Ctrl-C: then a process that has started finds its input ended
            self.link.close()
            self._log.close()
            if isinstance(error, OSError):
                raise BackendError(f"process: worker {number} could not start: {error}") from error
            raise

    def start(self, call: Call, sources: Sequence[Source]) -> None:
        new = [source for source in sources if source.region.key not in self._known]
        self._send(((), tuple(source.region[:] for source in new), call), [source.file for source in new])
        self._known.update(source.region.key for source in new)

    def forget(self, sources: Sequence[Source]) -> None:
        stale = tuple(source.region.key for source in sources if source.region.key in self._known)
        if stale:
            self._known.difference_update(stale)
            with suppress(BackendError):  # the next call will notice
                self._send((stale, (), None), [])

    def answer(self) -> Failure | int | None:
        try:
            outcome, _ = receive(self.link)
        except (EOFError, OSError):
            raise self._death() from None
        self.answered = True
        return Failure(*outcome) if isinstance(outcome, tuple) else outcome

    def end(self) -> None:
        """Let it end, after `link` was shut down."""
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._close()

    def disown(self) -> None:
        self.process.returncode = 0  # or Popen would warn that it still runs
        self._close()

    def _send(self, message: Message, files: Sequence[int]) -> None:
        try:
            send(self.link, message, files)
        except OSError:
            raise self._death() from None

    def _close(self) -> None:
        for file in (self.link, self.process.stdin, self._log):
            if file is not None:
                file.close()

    def _death(self) -> BackendError:
        """What there is to say of a worker that has closed its end of the link."""
        try:
            code = self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return BackendError(f"process: worker {self.number} (pid {self.process.pid}) does not listen any longer")
        how = f"was killed by {SIGNALS.get(-code, -code)}" if code < 0 else f"ended with exit code {code}"
        if code > 0 and not self.answered:
            how = f"could not start: it {how}"
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip()[-LOG_TAIL:]
        return BackendError(
            f"process: worker {self.number} (pid {self.process.pid}) {how}; the next call starts new workers"
            + (f". It wrote:\n{said}" if said else "")
        )


def _answers(workers: Sequence[Worker]) -> list[Failure | int | None]:
    """What each worker answers, whichever is first, so that one that died is noticed while others compute."""
    waiting = {worker.link.fileno(): worker for worker in workers}
    outcomes: dict[int, Failure | int | None] = {}
    poll = select.poll()
    for link in waiting:
        poll.register(link, select.POLLIN)
    while len(outcomes) < len(workers):
        for link, _ in poll.poll():
            poll.unregister(link)
            outcomes[waiting[link].number] = waiting[link].answer()
    return [outcomes[worker.number] for worker in workers]


def end(workers: list[Worker]) -> None:
    """End all of these processes, and empty the list; in a process forked from their parent only let go of them."""
    ending = workers.copy()
    workers.clear()
    if ending and ending[0].parent != os.getpid():
        for worker in ending:
            worker.disown()
        return
    for worker in ending:
        with suppress(OSError):  # it has died already
            worker.link.shutdown(socket.SHUT_RDWR)
    for worker in ending:
        worker.end()
