"""Task maps: results in order, timelines that are possible, and what happens to tasks that fail."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import parlinalg as pla
from parlinalg import TaskError, TaskMap, pmap
from parlinalg.backends import IPyParallel, Process
from parlinalg.cli import main
from parlinalg.errors import BackendError
from parlinalg.plot import figure
from ranked import on_ranks

WORKERS = {"serial": 1, "process": 2, "ipyparallel": 2}
SECONDS = 30.0


def timeline_is_possible(taskmap: TaskMap) -> None:
    line = taskmap.timeline
    assert line["task"].tolist() == list(range(len(taskmap)))
    assert (line["submitted"] <= line["started"] + 1e-4).all()
    assert (line["started"] <= line["finished"]).all()
    assert set(line["worker"]) <= set(range(taskmap.workers))
    for worker in set(line["worker"]):
        own = np.sort(line[line["worker"] == worker], order="started")
        assert (own["finished"][:-1] <= own["started"][1:] + 1e-4).all(), "a worker does two tasks at a time"
    assert 0 <= taskmap.efficiency <= 1.001
    assert taskmap.idle.shape == (taskmap.workers,)
    np.testing.assert_allclose(taskmap.idle.sum() + taskmap.serial_time, taskmap.workers * taskmap.wall_time)


# Results


@pytest.mark.parametrize("schedule", ["static", "dynamic"])
@pytest.mark.parametrize("chunksize", [None, 1, 3, 100])
@pytest.mark.parametrize("backend", WORKERS)
def test_results_are_those_of_map(backend: str, schedule: str, chunksize: int | None) -> None:
    items = [np.arange(n) for n in range(11)]
    offset = 5
    options: dict[str, Any] = {"backend": backend, "workers": WORKERS[backend], "schedule": schedule}
    taskmap = pmap(lambda a: int(a.sum()) + offset, iter(items), **options, chunksize=chunksize)
    assert list(taskmap) == [int(a.sum()) + offset for a in items]
    assert (taskmap[-1], taskmap[1:3], len(taskmap)) == (50, [5, 6], 11)
    assert taskmap.workers == WORKERS[backend]
    timeline_is_possible(taskmap)


@pytest.mark.parametrize("backend", WORKERS)
@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_items(backend: str, count: int) -> None:
    taskmap = pmap(abs, [-3] * count, backend=backend, workers=WORKERS[backend])
    assert list(taskmap) == [3] * count
    timeline_is_possible(taskmap)


def test_static_shares_are_blocks_in_advance() -> None:
    taskmap = pmap(time.sleep, [0.01] * 7, workers=3)
    assert taskmap.timeline["worker"].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert len(set(taskmap.timeline["process"])) == 3
    assert len(set(taskmap.timeline["submitted"])) == 3


def test_dynamic_goes_to_whoever_is_free() -> None:
    taskmap = pmap(time.sleep, [0.8, *[0.01] * 9], workers=2, schedule="dynamic")
    assert taskmap.timeline["worker"].tolist() == [0, *[1] * 9]


def test_instances() -> None:
    with Process(workers=2, threads=3) as backend:
        assert set(pmap(lambda _: os.environ["OMP_NUM_THREADS"], range(4), backend=backend)) == {"3"}
        assert pmap(abs, range(4), backend=backend).workers == 2


def test_a_map_inside_of_a_task_is_serial() -> None:
    def inner(n: int) -> tuple[int, list[int]]:
        taskmap = pla.pmap(lambda k: k * n, range(3), workers=2)
        return taskmap.workers, list(taskmap)

    assert list(pmap(inner, [1, 2], workers=2)) == [(1, [0, 1, 2]), (1, [0, 2, 4])]


def test_workers_are_gone_after_the_map() -> None:
    before = set(psutil.Process().children())
    pmap(abs, range(5), workers=3)
    assert set(psutil.Process().children()) <= before


def test_what_tasks_print_is_seen() -> None:
    program = "import parlinalg; parlinalg.pmap(print, ['hello', 'world'], workers=2)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=SECONDS)
    assert "hello" in done.stdout
    assert "world" in done.stdout


@pytest.mark.parametrize("way", ["script", "stdin"])
def test_a_program_needs_no_guard(way: str, tmp_path: Path) -> None:
    program = """
    import parlinalg
    class Point:
        def __init__(self, x): self.x = x
    def double(point): return Point(2 * point.x)
    print([point.x for point in parlinalg.pmap(double, [Point(1), Point(2)], workers=2)])
    """
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    with script.open() as file:
        arguments = [str(script)] if way == "script" else ["-"]
        done = subprocess.run(
            [sys.executable, *arguments], stdin=file, capture_output=True, text=True, check=True, timeout=SECONDS
        )
    assert done.stdout == "[2, 4]\n"


def test_progress_is_drawn_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(pmap(abs, range(3), workers=2, progress=True)) == [0, 1, 2]
    captured = capfd.readouterr()
    assert captured.out == ""


# Mistakes


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"function": 3}, TypeError, "function is 3"),
        ({"items": 3}, TypeError, "not iterable"),
        ({"schedule": "guided"}, ValueError, "schedule is 'guided'; it must be one of 'static', 'dynamic'"),
        ({"chunksize": 0}, ValueError, "chunksize is 0"),
        ({"chunksize": True}, ValueError, "chunksize is True"),
        ({"workers": 0}, ValueError, "workers"),
        ({"backend": "openmp"}, ValueError, "backend is 'openmp'; it must be one of 'process'"),
        ({"items": [1, threading.Lock()]}, TypeError, r"items\[1\] cannot be sent to a worker"),
        ({"function": threading.Lock().acquire}, TypeError, "function cannot be sent to a worker"),
    ],
)
def test_mistakes(options: dict[str, Any], error: type[Exception], words: str) -> None:
    arguments: dict[str, Any] = {"function": abs, "items": [1], "workers": 2} | options
    with pytest.raises(error, match=words):
        pmap(arguments.pop("function"), arguments.pop("items"), **arguments)


# Failures


class OddError(Exception):
    """One that can be pickled but not unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize("schedule", ["static", "dynamic"])
@pytest.mark.parametrize("backend", WORKERS)
def test_a_task_that_raises(backend: str, schedule: str) -> None:
    with pytest.raises(TaskError, match=r"items\[2\] \(and 1 others\) raised ZeroDivisionError") as caught:
        pmap(lambda x: 6 // x, [1, 2, 0, 3, 0], backend=backend, workers=WORKERS[backend], schedule=schedule)
    error = caught.value
    assert error.index == 2
    assert sorted(error.failures) == [2, 4]
    assert [error.taskmap[i] for i in (0, 1, 3)] == [6, 3, 2]
    assert isinstance(error.taskmap[4], ZeroDivisionError)
    assert error.__cause__ is error.failures[2]
    assert "in <lambda>" in str(error.failures[2].__cause__)
    timeline_is_possible(error.taskmap)


def test_exceptions_and_results_that_cannot_travel() -> None:
    def odd(x: int) -> Any:
        if x:
            raise OddError(1, 2)
        return threading.Lock()

    with pytest.raises(TaskError) as caught:
        pmap(odd, [0, 1], workers=2)
    assert "cannot pickle" in str(caught.value.failures[0])
    assert "OddError: 1 and 2" in str(caught.value.failures[1])


@pytest.mark.parametrize("schedule", ["static", "dynamic"])
@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_a_worker_that_dies_fails_one_task(schedule: str, end: str) -> None:
    def work(x: int) -> int:
        if x == 2:
            eval(end, {"os": os})
        return x

    with pytest.raises(TaskError, match=r"items\[2\] raised BackendError: process: worker \d \(pid \d+\)") as caught:
        pmap(work, range(8), workers=2, schedule=schedule)
    assert sorted(caught.value.failures) == [2]
    assert [x for x in caught.value.taskmap if isinstance(x, int)] == [0, 1, 3, 4, 5, 6, 7]


def test_a_worker_that_is_stopped_fails_one_task() -> None:
    def stop_at_first(i: int) -> None:
        if i == 0:
            os.kill(os.getpid(), signal.SIGSTOP)

    with pytest.raises(TaskError, match="is stopped") as caught:
        pmap(stop_at_first, range(3), workers=2, schedule="dynamic")
    assert list(caught.value.failures) == [0]


def test_large_items_and_results() -> None:
    item = bytes(100 << 20)
    assert list(pmap(bytes, [item], workers=1)) == [item]


def test_an_error_of_tasks_can_be_pickled() -> None:
    with pytest.raises(TaskError) as caught:
        pmap(lambda i: 1 / i, [1, 0], workers=1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.index) == (str(caught.value), 1)
    assert isinstance(again.failures[1], ZeroDivisionError)


def test_an_engine_that_dies_fails_its_tasks() -> None:
    def work(x: int) -> int:
        if x == 0:
            os._exit(1)
        time.sleep(0.1)
        return x

    with IPyParallel() as backend, pytest.raises(TaskError) as caught:
        pmap(work, range(6), backend=backend, workers=2, schedule="dynamic")
    assert list(caught.value.failures) == [0]
    assert "Engine" in str(caught.value)
    assert list(caught.value.taskmap)[1:] == [1, 2, 3, 4, 5]


def test_ctrl_c_ends_the_map() -> None:
    program = """
    import os, signal, sys, threading, time
    import parlinalg
    threading.Timer(2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    try:
        parlinalg.pmap(time.sleep, [20] * 4, workers=2)
    except KeyboardInterrupt:
        print(time.monotonic() - start < 6)
    print(list(parlinalg.pmap(abs, [-1], workers=1)))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    assert done.stdout.split("\n")[:2] == ["True", "[1]"]


def test_no_worker_is_left_of_a_caller_that_is_killed() -> None:
    program = """
    import os, time, parlinalg
    def tell(x):
        os.write(1, f"{os.getpid()}\\n".encode())
        time.sleep(60)
    parlinalg.pmap(tell, [0, 1], workers=2)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout is not None
        workers = [psutil.Process(int(caller.stdout.readline())) for _ in range(2)]
        caller.send_signal(signal.SIGKILL)
        gone, alive = psutil.wait_procs(workers, timeout=3)
        assert (len(gone), alive) == (2, [])


def test_workers_end_although_a_forked_child_of_their_caller_lives() -> None:
    program = """
    import os, signal, threading, time, parlinalg
    def tell(x):
        os.write(1, f"{os.getpid()}\\n".encode())
        time.sleep(60)
    threading.Thread(target=parlinalg.pmap, args=(tell, [0, 1]), kwargs={"workers": 2}, daemon=True).start()
    time.sleep(3)
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(0)
    os.write(1, f"{child}\\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout is not None
        *workers, child = [psutil.Process(int(caller.stdout.readline())) for _ in range(3)]
        caller.wait(SECONDS)
        _, alive = psutil.wait_procs(workers, timeout=3)
        child.kill()
        assert alive == []


# Ranks of MPI


def test_ranks() -> None:
    program = """
    import os
    import numpy as np, parlinalg as pla
    taskmap = pla.pmap(lambda x: x * x, range(9), backend="mpi", schedule="dynamic")
    assert list(taskmap) == [x * x for x in range(9)]
    try:
        pla.pmap(lambda x: 1 // x, range(3), backend="mpi")
    except pla.TaskError as error:
        assert list(error.failures) == [0]
    try:
        pla.pmap(abs, range(3 + pla.backends()["mpi"].workers * 0), backend="mpi", chunksize=0)
    except ValueError:
        pass
    assert pla.psum([1.0, 2.0], backend="mpi") == 3
    os.write(1, f"{taskmap.workers}\\n".encode())
    """
    for size in (1, 3):
        run = on_ranks(size, "-c", textwrap.dedent(program), seconds=60)
        assert (run.returncode, run.stdout.split()) == (0, [str(max(1, size - 1))] * size), run.stdout


def test_ranks_that_serve_one_program(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import parlinalg as pla\n"
        "if __name__ == '__main__':\n"
        "    taskmap = pla.pmap(lambda x: -x, range(5), backend='mpi')\n"
        "    print(list(taskmap), taskmap.workers)\n"
    )
    run = on_ranks(3, "-m", "mpi4py.futures", str(script), seconds=60)
    assert (run.returncode, run.stdout) == (0, "[0, -1, -2, -3, -4] 2\n")


# Pictures


def test_pictures(tmp_path: Path) -> None:
    taskmap = pmap(time.sleep, [0.02, 0.01, 0.03], workers=2)
    taskmap.plot().figure.savefig(tmp_path / "timeline.png")  # type: ignore[union-attr]
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")
    axes = figure().add_subplot()
    assert taskmap.plot(axes) is axes
    assert len(axes.patches) == 3
    taskmap.to_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [event["name"] for event in events] == ["task 0", "task 1", "task 2"]
    assert events[2]["dur"] >= 3e4


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(tmp_path / "tasks.png")
    assert main(["tasks", "--tasks", "9", "--longest", "0.02", "--workers", "2", "--plot", picture]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("static   9 tasks on 2 workers: ")
    assert lines[1].startswith("dynamic  9 tasks on 2 workers: ")
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
    assert main(["tasks", "--tasks", "0"]) == 1


def test_errors_have_a_class() -> None:
    assert issubclass(TaskError, pla.ParlinalgError)
    assert issubclass(BackendError, pla.ParlinalgError)
