"""The faults, each a program of its own: ``python programs.py NAME [ARGUMENT ...]`` prints "ok" if all is well."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import around
import numpy as np
import psutil
from helpers import EXACT, RNG, TOTAL, A, X, check, in_child, raises, workers

import parlinalg as pla
from parlinalg.backends import IPyParallel
from parlinalg.registry import close_all

# Fork


def fork_after_use(backend: str) -> None:
    """A child computes, and its child; where the device or the ranks forbid it, it says so."""
    many = None if backend in ("numpy", "opencl", "mpi") else 2
    check(backend, many)

    def compute() -> None:
        check(backend, many)

    def refuse() -> None:
        start = time.perf_counter()
        raises(pla.BackendUnavailable, "fork", call=lambda: check(backend))
        assert time.perf_counter() - start < 0.5

    task = refuse if backend in ("opencl", "mpi") else compute

    def nested() -> None:
        task()
        assert in_child(task) == 0

    assert in_child(nested, 20.0 if backend == "ipyparallel" else 10.0) == 0, "the child failed"
    check(backend, many)


def fork_while_another_thread_computes(backend: str) -> None:
    """Neither side waits for the other."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            check(backend, 2)

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        for _ in range(50 if backend == "openmp" else 20):
            assert in_child(lambda: check("openmp", 2)) == 0, "a child failed"
    finally:
        stop.set()
        thread.join()


def fork_by_c(backend: str) -> None:
    """Python's hooks do not see it; the child computes all the same."""
    check(backend, 2)
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        check(backend, 2)
        os._exit(0)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0
            check(backend, 2)
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the child hangs")


def fork_stress() -> None:
    """200 forks, one after the other."""
    check("openmp", 2)
    for _ in range(200):
        assert in_child(lambda: check("openmp", 2)) == 0, "a child failed"


# Workers


def _says_who(call: Callable[[], Any], name: str, seconds: float) -> None:
    """BackendError that names the process, or the engine, that ended."""
    start = time.monotonic()
    raises(pla.BackendError, name, call=call)
    assert time.monotonic() - start < seconds, f"noticed after {time.monotonic() - start:.1f} s"


def _wait_for_end(process: psutil.Process) -> None:
    """Without taking its exit status, which is for its parent."""
    deadline = time.monotonic() + 5
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.01)


def worker_ends(how: str) -> None:
    """An idle one, by a signal or by itself: the call names it, the next one is right."""
    with pla.operator(A, backend="process", workers=2) as op:
        op @ X
        victim = next(one for one in workers() if _computes(one))
        victim.send_signal(getattr(signal, how))
        _wait_for_end(victim)
        _says_who(lambda: op @ X, f"(pid {victim.pid}) was killed by {how}", 2.0)
        assert np.allclose(op @ X, A @ X), "the matrix is not placed again"
    check("process", 2)


def worker_ends_in_a_call(how: str) -> None:
    """The same while it computes."""
    _ends_in_a_call("process", lambda one: one.send_signal(getattr(signal, how)), "(pid {}) was killed by " + how, 2.0)
    check("process", 2)


def _ends_in_a_call(backend: Any, end: Callable[[psutil.Process], None], words: str, seconds: float) -> None:
    big, many = np.ones((2000, 2000)), np.ones((2000, 60))
    with pla.operator(big, backend=backend, exact=True) as op:
        op @ big[0]
        victim = next(one for one in workers() if _computes(one))
        sent: list[float] = []

        def end_it() -> None:
            sent.append(time.monotonic())
            end(victim)

        def compute() -> None:
            while not sent or time.monotonic() < sent[0] + 9:  # one call after the other, so that it ends in one
                op @ many

        thread = threading.Timer(0.3, end_it)
        thread.start()
        raises(pla.BackendError, words.format(victim.pid), call=compute)
        assert 0 < time.monotonic() - sent[0] < seconds, "noticed too late"
        thread.join()
        assert (op @ big[0] == 2000).all(), "the next product is wrong"


def _computes(process: psutil.Process) -> bool:
    command = " ".join(process.cmdline())
    return "ipyparallel.engine" in command or "_worker" in command


def worker_ends_by_a_task() -> None:
    """A task of a map that ends its process."""
    raises(pla.TaskError, call=lambda: pla.pmap(os._exit, [0, 3], backend="process", workers=2))
    check("process", 2)


def engine_killed() -> None:
    """While it computes: the call names it, the next one goes on."""
    with IPyParallel() as backend:
        _ends_in_a_call(backend, lambda one: one.kill(), "is lost", 10.0)


def idle_engine_killed() -> None:
    """It is missed, and the others compute; or the call says that it is lost."""
    with IPyParallel() as backend:
        check(backend)
        next(one for one in workers() if _computes(one)).kill()
        start = time.monotonic()
        with suppress(pla.BackendError):
            check(backend)
        assert time.monotonic() - start < 10
        check(backend)


def engine_stopped() -> None:
    """One that does not answer is lost."""
    backend = IPyParallel()
    with backend:
        check(backend)
        engine = next(one for one in workers() if "ipyparallel.engine" in " ".join(one.cmdline()))
        engine.suspend()
        start = time.monotonic()
        raises(pla.BackendError, "is lost", call=lambda: check(backend))
        assert time.monotonic() - start < 12
        engine.kill()


def controller_killed() -> None:
    """Nobody answers any more."""
    backend = IPyParallel()
    with backend:
        check(backend)
        for one in workers():
            if "ipyparallel.controller" in " ".join(one.cmdline()):
                one.kill()
        start = time.monotonic()
        raises(pla.BackendError, "controller", call=lambda: check(backend))
        assert time.monotonic() - start < 12


def parent_killed(backend: str) -> None:
    """Its workers, engines, ranks and files go with it."""
    program = f"""
    import numpy as np, os, parlinalg as pla
    op = pla.operator(np.ones((1000, 1000)), backend={backend!r}, workers=2)
    op @ np.ones(1000)
    print("up", flush=True)
    input()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        started = psutil.Process(parent.pid).children(recursive=True)
        assert started
        parent.kill()
    _, alive = psutil.wait_procs(started, 3)
    assert not alive, f"still there: {[one.cmdline() for one in alive]}"


def nested_pool(kind: str) -> None:
    """A call inside of another pool's worker is serial, or has its share."""
    if kind == "processes":
        with ProcessPoolExecutor(2) as pool:
            assert list(pool.map(_sum_in_worker, [1000, 2000])) == [1000.0, 2000.0]
    elif kind == "threads":
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(_sum_in_worker, range(1000, 1040))) == [float(n) for n in range(1000, 1040)]
    elif kind == "joblib":
        import joblib  # type: ignore[import-untyped]

        jobs = joblib.Parallel(n_jobs=2)
        assert jobs(joblib.delayed(_sum_in_worker)(n) for n in (1000, 2000)) == [1000.0, 2000.0]
        shares = jobs(joblib.delayed(pla.default_workers)() for _ in range(2))
        assert max(shares) <= max(1, len(os.sched_getaffinity(0)) // 2), shares
    else:
        found = pla.pmap(_sum_in_worker, [1000, 2000], backend="process", workers=2)
        assert list(found) == [1000.0, 2000.0]


def _sum_in_worker(n: int) -> float:
    for backend in ("openmp", "process"):
        assert pla.psum(np.ones(n), backend=backend, workers=2) == n
    return float(pla.psum(np.ones(n)))


def script(kind: str) -> None:
    """Without ``if __name__ == "__main__"``, or from standard input: it works, and starts itself but once."""
    code = "import numpy as np, parlinalg as pla\nprint(pla.psum(np.ones(10), backend='process', workers=2))\n"
    if kind == "stdin":
        done = subprocess.run(
            [sys.executable, "-"], input=code, capture_output=True, text=True, timeout=20, check=False
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "script.py")
            path.write_text(code)
            done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("10.0\n", ""), done.stderr[-300:]


# Signals


def interrupted(backend: str) -> None:
    """Ctrl-C is answered within half a second, and the next call is right."""
    n = 1200
    big = RNG.standard_normal((n, n))
    options: dict[str, Any] = {"backend": backend, **({"workers": 2} if backend in ("openmp", "process") else {})}
    check(backend)
    with pla.operator(big, **options) as op:
        op @ big[0]
        main = threading.main_thread().ident
        assert main is not None
        sent: list[float] = []

        def send() -> None:
            time.sleep(0.5)
            sent.append(time.monotonic())
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            while True:
                op @ big[0]
        except KeyboardInterrupt:
            late = time.monotonic() - sent[0]
        thread.join()
        assert late < 0.5, f"answered after {late:.2f} s"
        assert np.allclose(op @ big[0], big @ big[0]), "the next product is wrong"
    check(backend)


def interrupted_once(backend: str, fault: str = "") -> None:
    """In one long call; for the seeded fault, one that does not look for signals."""
    a = np.broadcast_to(np.arange(1000.0), (400_000, 1000))
    options: dict[str, Any] = {"workers": 2} if backend == "openmp" else {}
    sent, answered = list[float](), threading.Event()

    def send() -> None:
        while not answered.wait(5 if sent else 0.3):  # again, if it was lost: then the answer is late
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send).start()
    try:
        while True:
            if fault:
                hashlib.pbkdf2_hmac("sha256", b"", b"", 4_000_000)
            pla.matvec(a, np.ones(1000), backend=backend, exact=True, **options)
    except KeyboardInterrupt:
        answered.set()
        late = time.monotonic() - sent[0]
    assert late < 0.5, f"answered after {late:.2f} s"
    check(backend)


# Threads


def threads(backend: str, fault: str = "") -> None:
    """8 threads, 200 calls each: the same bits, and no more threads than after the first calls."""
    calls = 200 if backend not in ("mpi", "ipyparallel") else 20
    with pla.operator(A, backend=backend, exact=True) as op, ThreadPoolExecutor(8) as pool:

        def compute(number: int, calls: int = calls, after: Callable[[], Any] = int) -> None:
            after()
            for i in range(calls):
                check(backend)
                assert (op @ X).tobytes() == _expected(fault, number * calls + i), "a product is wrong"

        list(pool.map(compute, range(8), [10] * 8, [threading.Barrier(8).wait] * 8))  # on each thread
        before = psutil.Process().num_threads()
        list(pool.map(compute, range(8)))
        if fault == "threads":
            threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
        after = psutil.Process().num_threads()
    assert after <= before, f"{after} threads, {before} after the first calls"


def _expected(fault: str, call: int) -> bytes:
    """The right product; for the seeded fault, once not."""
    return np.nextafter(EXACT, 9e9).tobytes() if fault == "answer" and call == 777 else EXACT.tobytes()


# Faults that the driver must see

seeded_hang, seeded_exit = partial(time.sleep, 1000), partial(os._exit, 3)


def seeded_death() -> None:
    ctypes.string_at(0)


def seeded_wrong_answer() -> None:
    assert pla.psum(A).tobytes() == np.nextafter(TOTAL, 9e9).tobytes(), "a sum is wrong"


def seeded_file() -> None:
    path = Path("/dev/shm") / f"parlinalg-seeded-{os.getpid()}"
    path.write_text("left")
    command = ["sh", "-c", f"sleep 6; rm {path}"]
    subprocess.Popen(command, start_new_session=True, env={}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def seeded_folder() -> None:
    tempfile.mkdtemp(prefix="parlinalg-seeded-")


def seeded_process() -> None:
    """It holds what this one printed to, as a worker may."""
    subprocess.Popen(["sleep", "100"], start_new_session=True)


def seeded_hang_and_process() -> None:
    seeded_process()
    time.sleep(1000)


if __name__ == "__main__":
    (vars(around) | globals())[sys.argv[1]](*sys.argv[2:])
    close_all()
    print("ok")
