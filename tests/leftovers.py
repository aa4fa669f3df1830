"""Nothing that the tests started outlives them: workers, engines, controllers, ranks, files in shared memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from parlinalg.registry import close_all

PREFIX = "parlinalg"
SECONDS = 5.0  # in which what was ended may end

_left = pytest.StashKey[list[str]]()


def _processes() -> list[str]:
    children = [one for one in psutil.Process().children(recursive=True) if "resource_tracker" not in _command(one)]
    _, alive = psutil.wait_procs(children, timeout=SECONDS)
    return [f"{one.pid}: {_command(one)}" for one in alive if one.is_running()]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error as error:  # it has ended, and nobody has asked how
        return str(error)


def pytest_sessionfinish(session: pytest.Session) -> None:
    close_all()
    files = [str(path) for path in Path("/dev/shm").glob(f"*{PREFIX}*")]
    session.config.stash[_left] = left = [*_processes(), *files]
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for one in config.stash.get(_left, []):
        terminalreporter.write_line(f"FAILED: left behind by the tests: {one}", red=True)
