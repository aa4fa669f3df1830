"""Processes that work for this one: how they start, and how they end with it, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import BackendError
from ._shared import anonymous_file
from ._worker import receive, send

__all__ = ["Stopped", "WorkerProcess", "end", "state_of"]

# Not multiprocessing: its children import the user's __main__, which has to be guarded for it.
CODE = """
import sys
from importlib import import_module
module, worker, link, *sys.path[:] = sys.argv[1:]
import_module(module).main(int(worker), int(link))
"""
THREADS_OF = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB")  # libraries that read <name>_NUM_THREADS when they load
SECONDS_TO_END = 2.0  # granted to a worker before it is killed
SIGNALS = {sig.value: sig.name for sig in signal.Signals}
LOOK = 1000  # milliseconds after which it is asked whether a process is stopped
LOOKS = 4  # at a process that is stopped, before it is lost
LOG_TAIL = 2000  # characters of what a dead worker wrote that its error shows


class WorkerProcess:
    """One worker process, as its parent sees it.

    Parameters
    ----------
    number : int
    threads : int
        That its libraries may use.
    module : str
        Whose function ``main(number, link)`` it runs.
    environment : mapping, optional
        Variables to set. If it is given, what the worker prints goes where this process prints to.

    Raises
    ------
    BackendError
        If it cannot start.
    """

    def __init__(self, number: int, threads: int, module: str, environment: Mapping[str, str] | None = None) -> None:
        self.number = number
        self.parent = os.getpid()
        _all.add(self)
        self.answered = False
        self._log = os.fdopen(anonymous_file("parlinalg-log"), "w+b")
        self.link, theirs = socket.socketpair()
        paths = [path or os.getcwd() for path in sys.path if isinstance(path, str)]
        command = [sys.executable, "-c", CODE, module, str(number), str(theirs.fileno()), *paths]
        limits = {f"{name}_NUM_THREADS": str(threads) for name in THREADS_OF}
        try:
            with theirs, interrupts_held():
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,  # never written to: it ends when this process does
                    stdout=subprocess.DEVNULL if environment is None else None,
                    stderr=self._log if environment is None else None,
                    bufsize=0,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C in the terminal is for this process only
                    env={**os.environ, **limits, **(environment or {})},
                )
        except BaseException as error:  # also Ctrl-C
            self._abandon()
            if isinstance(error, OSError):
                raise BackendError(f"process: worker {number} could not start: {error}") from error
            raise

    def send(self, message: Any, files: Sequence[int] = ()) -> None:
        """Send it a message; raise `BackendError` if it is dead."""
        try:
            send(self.link, message, files)
        except OSError:
            raise self._death() from None

    def receive(self) -> Any:
        """Its next message; raise `BackendError` if it is dead."""
        try:
            message, _ = receive(self.link)
        except (EOFError, OSError):
            raise self._death() from None
        self.answered = True
        return message

    def end(self) -> None:
        """Let it end, after `link` was shut down."""
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._close()

    def disown(self) -> None:
        """Leave it alone, in a process forked from its parent."""
        if hasattr(self, "process"):  # else another thread was about to start it
            self.process.returncode = 0  # or Popen would warn that it still runs
            self._close()

    def _close(self) -> None:
        for file in (self.link, self.process.stdin, self._log):
            if file is not None:
                file.close()

    def _abandon(self) -> None:
        """Leave nothing of a start that failed."""
        self.link.close()
        self._log.close()
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()
            self._close()

    def lost(self, how: str) -> BackendError:
        """The error that names it."""
        who = f"process: worker {self.number} (pid {self.process.pid})"
        return BackendError(f"{who} {how}; the next call starts new workers")

    def _death(self) -> BackendError:
        """What there is to say of a worker that has closed its end of the link."""
        try:
            code = self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return self.lost("does not listen any longer")
        how = f"was killed by {SIGNALS.get(-code, -code)}" if code < 0 else f"ended with exit code {code}"
        if code > 0 and not self.answered:
            how = f"could not start: it {how}"
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip()[-LOG_TAIL:]
        error = self.lost(how)
        return BackendError(f"{error}. It wrote:\n{said}") if said else error


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait: in the middle of `Popen`, nobody would know of the process that has started."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            before(*held[0])


def state_of(pid: int) -> str:
    """The state of a process of this host, as the letter in /proc; "" if there is none, "?" where nothing tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "" if Path("/proc/self").exists() else "?"


class Stopped:
    """Finds out whether a process is stopped, as by SIGSTOP, for longer than a moment."""

    def __init__(self) -> None:
        self._looks = 0  # in a row at which it was

    def look(self, pid: int) -> bool:
        """Look once more; whether it was stopped each time."""
        self._looks = self._looks + 1 if state_of(pid) == "T" else 0
        return self._looks >= LOOKS


_all: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _disown_all() -> None:
    """In a forked child: whoever holds the other end of their standard input keeps the workers alive."""
    for worker in list(_all):
        worker.disown()
    _all.clear()


os.register_at_fork(after_in_child=_disown_all)


def end(workers: list[Any]) -> None:
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
