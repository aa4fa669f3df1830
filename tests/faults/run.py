"""Runs a program under a hard timeout, kept outside of it, and looks at what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
    before = _files()
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | (environment or {}) | {MARK: mark},
    )
    try:
        output, _ = process.communicate(timeout=limit)
        status, detail = _verdict(process.returncode, output)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status, detail = "hang", f"not done after {limit:g} s: {_last(output)}"
    seconds = time.perf_counter() - start
    left = _left(mark, before)
    if left and status == "ok":
        status, detail = "leak", left
    return Outcome(status, seconds, detail)


def _verdict(returncode: int, output: str) -> tuple[str, str]:
    last = _last(output)
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


def _left(mark: str, before: set[str]) -> str:
    """Processes and files that are still there; processes are ended then."""
    deadline = time.monotonic() + LEFT_ALONE
    while True:
        processes, files = _processes(mark), _files() - before
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


def _files() -> set[str]:
    return {str(path) for path in SHARED_MEMORY.glob(f"*{PREFIX}*")}
