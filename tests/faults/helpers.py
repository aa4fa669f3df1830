"""What the programs share: right answers, expected errors, forked children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

import parlinalg as pla

__all__ = ["EXACT", "RNG", "TOTAL", "A", "X", "check", "in_child", "output_of", "raises", "workers"]

RNG = np.random.default_rng(0)
A = RNG.standard_normal((300, 200))
X = RNG.standard_normal(200)
EXACT = pla.matvec(A, X, exact=True, backend="numpy")
TOTAL = pla.psum(A, backend="numpy")


def check(backend: Any, workers: int | None = None) -> None:
    """A sum and a product, bit by bit."""
    options: dict[str, Any] = {} if workers is None else {"workers": workers}
    assert pla.psum(A, backend=backend, **options).tobytes() == TOTAL.tobytes(), "a sum is wrong"
    found = pla.matvec(A, X, exact=True, backend=backend, **options)
    assert found.tobytes() == EXACT.tobytes(), "a product is wrong"


def raises(kind: type[BaseException], *words: str, call: Callable[[], Any]) -> None:
    """The call raises this, and says that."""
    try:
        call()
    except kind as error:
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"{type(error).__name__}({error}) does not say {missing}"
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


def in_child(task: Callable[[], Any], seconds: float = 5.0) -> int:
    """The exit status of a forked child that does it; 99 if it had to be killed."""
    child = os.fork()
    if child == 0:
        try:
            task()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  it must not come back
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 99


def workers() -> list[psutil.Process]:
    """Processes that this one has started."""
    return [one for one in psutil.Process().children(recursive=True) if "resource_tracker" not in str(one.cmdline())]


def output_of(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env=os.environ | environment
    )
    return done.stdout if done.returncode == 0 else f"status {done.returncode}: {done.stderr[-300:]}"
