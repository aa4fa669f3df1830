"""Runs a program under a hard timeout, kept outside of it, and looks at what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Outcome", "run", "run_program"]

HERE = Path(__file__).parent
MARK = "PARLINALG_FAULT_CASE"  # in the environment of all that a case starts
SHARED_MEMORY = Path("/dev/shm")
PREFIX = "parlinalg"
LEFT_ALONE = 3.0  # seconds in which all that a case has started must end
NEVER_OURS = ("resource_tracker",)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended."""

    status: str  # "ok", "skipped", "hang", "death", "wrong" or "leak"
    seconds: float
    detail: str = ""
    output: str = ""  # all that it wrote

    @property
    def survived(self) -> bool:
        """Whether the promise was kept."""
        return self.status == "ok"


def run_program(name: str, *arguments: str, limit: float, environment: dict[str, str] | None = None) -> Outcome:
    """A function of programs.py, in a process of its own."""
    return run([sys.executable, str(HERE / "programs.py"), name, *arguments], limit, environment)


def run(command: Sequence[str], limit: float, environment: dict[str, str] | None = None) -> Outcome:
    """A command that prints "ok" as its last line if all is well, or "skipped: " and why."""
    mark = uuid.uuid4().hex
    # Its temporary files are its own, so that those of other programs are not taken for left behind. What it prints
    # goes to a file: a pipe would be kept open by what outlives it.
    with tempfile.TemporaryDirectory(prefix="fault-") as folder, tempfile.TemporaryFile("w+", errors="replace") as file:
        before = _files(Path(folder))
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"TMPDIR": folder} | (environment or {}) | {MARK: mark},
        )
        late = _is_late(process, limit)
        seconds = time.perf_counter() - start
        left = _left(mark, Path(folder), before)
        file.seek(0)
        output = file.read()
    status, detail = ("hang", f"not done after {limit:g} s: {_last(output)}") if late else _verdict(process, output)
    if left:
        status, detail = ("leak" if status == "ok" else status), "; left behind: ".join(filter(None, (detail, left)))
    return Outcome(status, seconds, detail, output)


def _is_late(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Whether it had to be killed."""
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def _verdict(process: subprocess.Popen[bytes], output: str) -> tuple[str, str]:
    returncode, last = process.returncode, _last(output)
    if returncode < 0:
        return "death", f"signal {-returncode}: {last}"
    if last.startswith("skipped: "):
        return "skipped", last.removeprefix("skipped: ")
    if returncode == 0 and last == "ok":
        return "ok", ""
    if "Traceback" not in output and last != "ok":
        return "death", f"status {returncode}: {last}"
    return "wrong", last


def _last(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _left(mark: str, folder: Path, before: set[str]) -> str:
    """Processes and files that are still there; processes are ended then."""
    deadline = time.monotonic() + LEFT_ALONE
    while True:
        processes, files = _processes(mark), _files(folder) - before
        if not (processes or files) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    told = [*(f"process {one.pid}: {_command(one)}" for one in processes), *sorted(files)]
    for one in processes:
        one.kill()
    return "; ".join(told)


def _processes(mark: str) -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if _is_marked(one, mark)]


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE or any(name in _command(process) for name in NEVER_OURS):
            return False
        return bool(process.environ().get(MARK) == mark)
    except psutil.Error:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:100]
    except psutil.Error:
        return ""


def _files(folder: Path) -> set[str]:
    places = (SHARED_MEMORY, folder)
    return {str(path) for place in places for path in place.glob(f"*{PREFIX}*")}
