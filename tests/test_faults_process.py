"""What may go wrong around worker processes: each case in a process of its own, ended from outside if it hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="the process backend needs Linux or macOS"),
]

LIMIT = 30  # seconds that no case comes near unless it hangs
GRACE = 3.0  # seconds in which workers end after their parent, as promised

PRELUDE = """
import os, signal, sys, threading, time
from functools import partial
import numpy as np, psutil
import parlinalg, process_tasks
from parlinalg import BackendError
from parlinalg.backends import Process
from parlinalg.split import blocks

def run(backend, task, workers=2):
    pieces = backend.team.scatter(np.ones(1000), blocks(1000, workers))
    out = np.empty(workers)
    backend.team.allgather(task, pieces, (), out, blocks(workers, workers))
    backend.team.free(pieces)
    return out

def tell_workers():
    print(*(child.pid for child in psutil.Process().children()), flush=True)

def check(backend="process"):
    A = np.arange(10000.0).reshape(100, 100)
    assert np.array_equal(parlinalg.matvec(A, np.ones(100), backend=backend, workers=2), A.sum(1))

"""
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}


@contextmanager
def started(code: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A Python that runs `code`, in a session of its own; killed in the end."""
    process = subprocess.Popen(
        [sys.executable, *options, "-c", PRELUDE + code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=ENVIRONMENT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def output(code: str) -> str:
    """What `code` prints; it must end well and warn of nothing."""
    with started(code, "-W", "error") as process:
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, "")
    return out.strip()


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The workers whose pids it prints as its next line."""
    assert process.stdout is not None
    return [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=GRACE)[1]


def shared_files() -> set[str]:
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.mark.parametrize("task", ["spin", "idle"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(task: str, end: signal.Signals) -> None:
    before = shared_files()
    code = "check(); tell_workers(); time.sleep(60)"
    if task == "spin":
        code = """
backend = Process()
check(backend)
tell_workers()
run(backend, process_tasks.spin)
"""
    with started(code) as process:
        workers = workers_of(process)
        assert len(workers) == 2
        time.sleep(0.3)
        process.send_signal(end)
        process.wait(LIMIT)
        assert gone(workers)
    assert not [name for name in shared_files() - before if "parlinalg" in name]


def test_workers_end_although_a_forked_child_of_their_parent_lives() -> None:
    code = """
check()
if os.fork() == 0:
    time.sleep(20)
    os._exit(0)
tell_workers()
os.kill(os.getpid(), signal.SIGKILL)
"""
    with started(code) as process:
        *workers, child = workers_of(process)
        process.wait(LIMIT)
        ended = gone(workers)
        child.kill()
        assert ended


def test_control_c_while_workers_compute() -> None:
    code = """
backend = Process()
check(backend)
tell_workers()
try:
    run(backend, partial(process_tasks.sleep, seconds=60))
except KeyboardInterrupt:
    print("interrupted", flush=True)
check(backend)
print("works")
"""
    with started(code) as process:
        workers = workers_of(process)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=LIMIT)
        assert (out.split(), err) == (["interrupted", "works"], "")
        assert gone(workers)


def test_control_c_that_nobody_catches() -> None:
    with started("backend = Process(); check(backend); tell_workers(); run(backend, process_tasks.spin)") as process:
        workers = workers_of(process)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == -signal.SIGINT
        assert err.count("Traceback") == 1
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert gone(workers)


def test_control_c_at_the_prompt_leaves_idle_workers_alone() -> None:
    code = """
check()
tell_workers()
try:
    time.sleep(60)
except KeyboardInterrupt:
    tell_workers()
check()
"""
    with started(code) as process:
        workers = workers_of(process)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        assert workers_of(process) == workers
        _, err = process.communicate(timeout=LIMIT)
        assert (process.returncode, err) == (0, "")


def test_worker_killed_while_it_computes() -> None:
    code = """
backend = Process()
pids = run(backend, process_tasks.fill)
threading.Timer(0.3, os.kill, (int(pids[0]), signal.SIGKILL)).start()
try:
    run(backend, partial(process_tasks.sleep, seconds=60))
except BackendError as error:
    print(f"worker 0 (pid {pids[0]:.0f}) was killed by SIGKILL" in str(error))
check(backend)
print(len(psutil.Process().children()))
"""
    assert output(code).split() == ["True", "2"]


def test_a_worker_that_is_stopped() -> None:
    code = """
backend = Process()
pids = run(backend, process_tasks.fill)
os.kill(int(pids[1]), signal.SIGSTOP)
try:
    run(backend, process_tasks.fill)
except BackendError as error:
    print(f"worker 1 (pid {pids[1]:.0f}) is stopped" in str(error))
check(backend)
print(len(psutil.Process().children()))
"""
    assert output(code).split() == ["True", "2"]


@pytest.mark.parametrize("closed", ["", "backend.close()", "del backend, op"])
def test_interpreter_exit(closed: str) -> None:
    code = f"""
backend = Process()
op = parlinalg.operator(np.ones((100, 100)), backend=backend, workers=2)
op @ np.ones(100)
check()
tell_workers()
{closed}
"""
    pids = output(code).split()
    assert len(pids) == 4
    assert not any(psutil.pid_exists(int(pid)) for pid in pids)


def test_exception_at_top_level() -> None:
    with started("check(); tell_workers(); raise SystemExit(3)") as process:
        workers = workers_of(process)
        process.wait(LIMIT)
        assert process.returncode == 3
        assert gone(workers)


UNGUARDED = "import parlinalg\nprint(parlinalg.psum([1.0, 2.0, 3.0], backend='process', workers=2))\n"


def test_script_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=ENVIRONMENT, check=False)
    assert (done.stdout, done.stderr) == ("6.0\n", "")


def test_script_from_standard_input() -> None:
    command = [sys.executable, "-"]
    done = subprocess.run(
        command, input=UNGUARDED, capture_output=True, text=True, timeout=LIMIT, env=ENVIRONMENT, check=False
    )
    assert (done.stdout, done.stderr) == ("6.0\n", "")


def test_forked_child_gets_workers_of_its_own() -> None:
    code = """
backend = Process()
op = parlinalg.operator(np.eye(100), backend=backend, workers=2)
check(backend)
check()
ours = set(run(backend, process_tasks.fill))
child = os.fork()
check(backend)
check()
assert np.array_equal(op @ np.arange(100.0), np.arange(100.0))
theirs = set(run(backend, process_tasks.fill))
if child == 0:
    assert not ours & theirs
    grandchild = os.fork()
    check(backend)
    if grandchild:
        assert os.waitpid(grandchild, 0)[1] == 0
    sys.exit()  # with its handlers of exit, which must not end the workers of the parent
assert ours == theirs
assert os.waitpid(child, 0)[1] == 0
assert ours == set(run(backend, process_tasks.fill))
assert np.array_equal(op @ np.arange(100.0), np.arange(100.0))
"""
    assert output(code) == ""


def test_forked_child_keeps_a_matrix_that_its_parent_frees() -> None:
    code = """
backend = Process()
op = parlinalg.operator(np.eye(100), backend=backend, workers=2)
reading, writing = os.pipe()
if os.fork() == 0:
    os.read(reading, 1)
    os._exit(int(not np.array_equal(op @ np.arange(100.0), np.arange(100.0))))
op.close()
others = [parlinalg.operator(np.zeros((100, 100)), backend=backend, workers=2) for _ in range(3)]
os.write(writing, b"!")
assert os.wait()[1] == 0
"""
    assert output(code) == ""


def test_fork_by_c_code() -> None:
    """Of which Python does not know: neither process may use what the other has."""
    code = """
import ctypes
A = np.arange(10000.0).reshape(100, 100)
backend = Process()
op = parlinalg.operator(A, backend=backend, workers=2)
freed = parlinalg.operator(A, backend=backend, workers=2)
op @ np.ones(100)
ours = set(run(backend, process_tasks.fill))
reading, writing = os.pipe()
child = ctypes.PyDLL(None).fork()
factor = 2.0 if child == 0 else 3.0
for _ in range(200):
    assert np.array_equal(op @ np.full(100, factor), factor * A.sum(1))
if child == 0:
    assert not ours & set(run(backend, process_tasks.fill))
    os.read(reading, 1)
    try:
        freed @ np.ones(100)
    except BackendError as error:
        assert "forked by C code" in str(error)
    else:
        os._exit(1)
    op.close()
    check(backend)
    os._exit(0)
freed.close()
op2 = parlinalg.operator(np.zeros((100, 100)), backend=backend, workers=2)
os.write(writing, b"!")
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(op @ np.ones(100), A.sum(1))
assert ours == set(run(backend, process_tasks.fill))
"""
    assert output(code) == ""


def test_a_matrix_that_a_forked_child_frees_is_not_overwritten() -> None:
    code = """
backend = Process()
op = parlinalg.operator(np.eye(100), backend=backend, workers=2)
child = os.fork()
if child == 0:
    op.close()
    others = [parlinalg.operator(np.zeros((100, 100)), backend=backend, workers=2) for _ in range(3)]
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(op @ np.arange(100.0), np.arange(100.0))
"""
    assert output(code) == ""


def test_fork_while_another_thread_computes() -> None:
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
backend = Process()
check(backend)
stop = threading.Event()
def loop():
    while not stop.is_set():
        check(backend)
thread = threading.Thread(target=loop)
thread.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        check(backend)
        backend.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
check(backend)
"""
    assert output(code) == ""


@pytest.mark.parametrize("pool", ["multiprocessing.get_context('fork').Pool(2)", "ProcessPoolExecutor(2)"])
def test_call_inside_the_worker_of_another_pool(pool: str, tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text(
        "import numpy as np, parlinalg\n"
        "def total(n):\n"
        "    return float(parlinalg.psum(np.ones(n), backend='process', workers=2))\n"
    )
    code = f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
sys.path.insert(0, {str(tmp_path)!r})
import inner
check()
with {pool} as pool:
    print(sum(pool.map(inner.total, [100, 200, 300])))
"""
    assert output(code) == "600.0"
