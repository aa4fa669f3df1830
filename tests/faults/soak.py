"""Calls under random faults: ``python soak.py BACKEND SECONDS``; each call is right, or raises what it may."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from typing import Any

import leaks
import numpy as np
import psutil

import parlinalg as pla

A = np.random.default_rng(0).standard_normal((200, 100))
X = A[0].copy()
TOTAL, PRODUCT = pla.psum(A, backend="numpy"), pla.matvec(A, X, exact=True, backend="numpy")
_in_call = threading.Event()


def disturb(stop: threading.Event, chance: random.Random, backend: str) -> None:
    """Kill a worker, or interrupt the caller, from time to time."""
    main = threading.main_thread().ident
    assert main is not None
    while not stop.wait(chance.uniform(0.2, 1.5)):
        workers = [one for one in psutil.Process().children(recursive=True) if _is_worker(one)]
        if workers and chance.random() < 0.5:
            victim = chance.choice(workers)
            if victim.is_running():
                victim.kill()
        elif backend != "mpi":
            signal.pthread_kill(main, signal.SIGINT)


def _is_worker(process: psutil.Process) -> bool:
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return ("engine" in command or "parlinalg" in command) and "controller" not in command


def calls(backend: str, seconds: float) -> tuple[int, int]:
    """How many were right, and how many raised."""
    right = raised = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            try:
                _in_call.set()
                one_call(backend)
            finally:
                _in_call.clear()
            right += 1
        except (pla.BackendError, KeyboardInterrupt):
            raised += 1
    return right, raised


def interrupt(number: int, frame: object) -> None:
    """Ctrl-C, as far as it comes during a call."""
    if _in_call.is_set():
        raise KeyboardInterrupt


def one_call(backend: str) -> None:
    """Bits."""
    assert pla.psum(A, backend=backend).tobytes() == TOTAL.tobytes(), "a sum is wrong"
    with pla.operator(A, backend=backend, exact=True) as op:
        assert (op @ X).tobytes() == PRODUCT.tobytes(), "a product is wrong"


def main(backend: str, seconds: float) -> None:
    """Raise if an answer is wrong, or something is left."""
    for _ in range(20):
        one_call(backend)
    before = leaks.counts()
    signal.signal(signal.SIGINT, interrupt)
    stop = threading.Event()
    thread = threading.Thread(target=disturb, args=(stop, random.Random(0), backend))
    thread.start()
    counted: Any = (0, 0)
    try:
        counted = calls(backend, seconds)
    finally:
        stop.set()
        thread.join()
    time.sleep(0.1)
    one_call(backend)
    after = leaks.counts()
    print(f"{backend}: {counted[0]} right, {counted[1]} raised, {after}")
    assert counted[0] > 0, "no call was right"
    grown = {name: (one, after[name]) for name, one in before.items() if after[name] > one}
    assert not grown, f"grown: {grown}"
    from parlinalg.registry import close_all

    close_all()
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
