"""The process backend: its own properties. Those that all backends share are tested in test_backends.py."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

import parlinalg
import process_tasks
from parlinalg import BackendError
from parlinalg.backends import Process
from parlinalg.backends._shared import SPARE_BYTES, Segments, _group_room, _host_room
from parlinalg.split import blocks

Array = NDArray[Any]

DTYPES = ("?", "i1", "u2", "i8", "<f2", "f4", ">f8", "F", "D")
COUNTS = (1, 2, 3, 5)


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    with Process() as backend:
        yield backend


def children() -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process().children()
    return found


def close_enough(y: Array, expected: Array) -> bool:
    if y.dtype.kind in "biu":
        return np.array_equal(y, expected)
    tolerance = 8 * np.finfo(y.dtype).eps
    return np.allclose(y, expected, rtol=tolerance, atol=32 * tolerance, equal_nan=True)


@st.composite
def operands(draw: st.DrawFn) -> Array:
    """Small whole numbers, so that sums of products are exact, in any order of axes and with any sign of strides."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=7))
    a = draw(arrays(np.int8, shape, elements=st.integers(0, 3))).astype(dtype)
    a = a.transpose(draw(st.permutations(range(a.ndim))))
    steps = draw(st.lists(st.sampled_from([1, -1, 2]), min_size=a.ndim, max_size=a.ndim))
    return a[tuple(slice(None, None, step) for step in steps)]


@pytest.mark.parametrize("workers", COUNTS)
@given(A=operands(), data=st.data())
def test_matvec(process: Process, workers: int, A: Array, data: st.DataObject) -> None:
    x = data.draw(arrays(np.int8, A.shape[-1], elements=st.integers(0, 3))).astype(data.draw(st.sampled_from(DTYPES)))
    y = parlinalg.matvec(A, x, backend=process, workers=workers)
    assert close_enough(y, np.matvec(A, x))


@pytest.mark.parametrize("workers", COUNTS)
@given(A=operands())
def test_operator(process: Process, workers: int, A: Array) -> None:
    A = A[(0,) * (A.ndim - 2)] if 0 not in A.shape[:-2] else np.zeros((3, 2), A.dtype)
    m, n = A.shape
    u, v = np.arange(m) % 3, np.arange(n) % 3
    U, V = (np.arange(2 * size).reshape(size, 2) % 3 for size in (m, n))
    with parlinalg.operator(A, backend=process, workers=workers) as op:
        assert close_enough(op @ v, A @ v)
        assert close_enough(op.H @ u, A.T.conj() @ u)
        assert close_enough(op @ V, A @ V)
        assert close_enough(op.H @ U, A.T.conj() @ U)


@pytest.mark.parametrize("workers", COUNTS)
@given(a=operands(), data=st.data())
def test_psum(process: Process, workers: int, a: Array, data: st.DataObject) -> None:
    axis = data.draw(st.none() | st.lists(st.integers(0, a.ndim - 1), unique=True).map(tuple))
    total = parlinalg.psum(a, axis, backend=process, workers=workers)
    assert np.array_equal(total, a.sum(axis)), (a.strides, axis)


def test_integer_sums_wrap(process: Process) -> None:
    a = np.full(100, 2**62)
    assert parlinalg.psum(a, backend=process, workers=3) == a.sum()


def test_batches_and_repeated_memory(process: Process) -> None:
    A = np.broadcast_to(np.arange(12.0).reshape(3, 4), (50, 3, 4))
    x = np.arange(200.0).reshape(50, 4)
    assert np.allclose(parlinalg.matvec(A, x, backend=process, workers=2), np.matvec(A, x))
    huge = np.broadcast_to(np.int8(1), 2**40)  # of which one byte is placed; no worker could hold it all
    pieces = process.team.scatter(huge, blocks(2**40, 2))
    assert pieces[0].source.region.length < 1 << 20
    process.team.free(pieces)


def test_adjoint_of_float16_accumulates_wider(process: Process) -> None:
    A = np.full((4096, 1), 1, np.float16)
    with parlinalg.operator(A, backend=process, workers=2) as op:
        assert (op.T @ np.ones(4096, np.float16)).tolist() == [4096]  # 2048 + 1 is 2048 in float16


@pytest.mark.parametrize("workers", COUNTS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_map(process: Process, tmp_path: Path, workers: int, order: str) -> None:
    A = np.asarray(np.arange(7000.0).reshape(100, 70), order=order)  # type: ignore[call-overload]
    path = tmp_path / "A.npy"
    np.save(path, A)
    x = np.arange(70.0)
    with parlinalg.operator(path, backend=process, workers=workers) as op:
        assert np.array_equal(op @ x, A @ x)
        assert np.array_equal(op.T @ np.ones(100), A.sum(0))
        assert np.array_equal(op @ A.T, A @ A.T)
    mapped = np.load(path, mmap_mode="r")
    assert parlinalg.psum(mapped, backend=process, workers=workers) == A.sum()
    assert np.array_equal(
        parlinalg.psum(mapped[60::-3, ::2], 0, backend=process, workers=workers), A[60::-3, ::2].sum(0)
    )
    assert parlinalg.matvec(mapped[:2], x, backend=process, workers=workers).shape == (2,)


def test_each_worker_maps_only_its_rows(process: Process, tmp_path: Path) -> None:
    np.save(tmp_path / "A.npy", np.ones((1 << 10, 1 << 9)))
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
    pieces = process.team.scatter(mapped, blocks(1 << 10, 4))
    assert max(piece.source.region.length for piece in pieces) < mapped.nbytes / 3
    process.team.free(pieces)


def test_memory_map_of_a_file_that_was_replaced(process: Process, tmp_path: Path) -> None:
    path = tmp_path / "A.npy"
    np.save(path, np.ones((100, 100)))
    mapped = np.load(path, mmap_mode="r")
    np.save(tmp_path / "B.npy", np.zeros((100, 100)))
    (tmp_path / "B.npy").replace(path)
    assert parlinalg.psum(mapped, backend=process, workers=2) == 10000
    path.unlink()
    assert parlinalg.psum(mapped, backend=process, workers=2) == 10000


def test_memory_map_changed_in_memory_only(process: Process, tmp_path: Path) -> None:
    np.save(tmp_path / "A.npy", np.ones(1000))
    mapped = np.load(tmp_path / "A.npy", mmap_mode="c")
    mapped[0] = 5
    assert parlinalg.psum(mapped, backend=process, workers=2) == 1004


def test_a_matrix_that_another_thread_freed_is_not_multiplied(process: Process) -> None:
    placed = process.place(np.ones((30, 30)), 2)
    placed.close()
    placed.close()
    with process.place(np.full((30, 30), 2.0), 2), pytest.raises(parlinalg.ClosedError, match="operator is closed"):
        placed.matvec(np.ones(30), np.empty(30))


def test_workers_start_on_demand_and_stay() -> None:
    before = len(children())
    with Process() as backend:
        assert len(children()) == before
        for workers, expected in ((2, 2), (1, 2), (5, 5), (3, 5)):
            assert parlinalg.psum(np.ones(100), backend=backend, workers=workers) == 100
            assert len(children()) == before + expected
    assert len(children()) == before
    assert parlinalg.psum(np.ones(100), backend=backend, workers=2) == 100  # closed, but not for good
    backend.close()
    backend.close()
    assert len(children()) == before


def test_number_of_workers_of_an_instance() -> None:
    with Process(workers=2) as backend:
        before = len(children())
        parlinalg.psum(np.ones(100), backend=backend)
        assert len(children()) == before + 2
        with pytest.raises(ValueError, match="can use 2 at most"):
            parlinalg.psum(np.ones(100), backend=backend, workers=3)


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2"])
def test_number_of_threads_that_cannot_be(threads: Any) -> None:
    with pytest.raises(ValueError, match="threads is .* it must be an int from 1"):
        Process(threads=threads)


def test_workers_with_threads() -> None:
    with Process(workers=2, threads=2) as backend:
        A = np.arange(40000.0).reshape(200, 200)
        assert np.allclose(parlinalg.matvec(A, A[0], backend=backend), A @ A[0])


def test_more_memory_than_there_is(process: Process) -> None:
    A = np.lib.stride_tricks.as_strided(np.zeros(1 << 21), (1 << 20, 1 << 20), (8, 8))
    with pytest.raises(MemoryError, match=f"{8 << 40} bytes of shared memory are not available: only .* are free"):
        parlinalg.matvec(A, np.zeros(1 << 20), backend=process, workers=2)
    assert parlinalg.psum(np.ones(10), backend=process, workers=2) == 10


def test_room_in_control_groups(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "self").write_text("0::/a/b\n")
    for folder, limit, used in (("a/b", "max", "10"), ("a", "1000", "400")):
        (tmp_path / folder / "memory.max").write_text(f"{limit}\n")
        (tmp_path / folder / "memory.current").write_text(f"{used}\n")
    (tmp_path / "a/memory.stat").write_text("anon 1\ninactive_file 50\n")
    assert _group_room(tmp_path / "self", tmp_path) == 650
    assert _group_room(tmp_path / "none", tmp_path / "none") == float("inf")


def test_the_limit_of_a_control_group_of_version_1(tmp_path: Path) -> None:
    group = tmp_path / "memory" / "job"
    group.mkdir(parents=True)
    (tmp_path / "self").write_text("5:cpu,cpuacct:/elsewhere\n4:memory:/job\n0::/\n")
    (group / "memory.limit_in_bytes").write_text("1000\n")
    (group / "memory.usage_in_bytes").write_text("400\n")
    (group / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 50\n")
    assert _group_room(tmp_path / "self", tmp_path) == 650
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("500\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("450\n")
    assert _group_room(tmp_path / "self", tmp_path) == 50


def test_room_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:   20 kB\nMemAvailable:      3 kB\n")
    assert _host_room(tmp_path / "meminfo") == 3072
    assert _host_room(tmp_path / "none") == float("inf")


def test_room_of_the_process() -> None:
    program = """
        import resource
        from parlinalg.backends._shared import _process_room
        assert _process_room() == float("inf")
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
        assert 32 << 20 < _process_room() <= 64 << 20, _process_room()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


def test_segments_are_used_again_but_not_kept_without_bound() -> None:
    segments = Segments()
    first = segments.take(1000)
    assert segments.give(first) == []
    assert segments.take(1500) is first
    large = segments.take(SPARE_BYTES + 1)
    assert large.region.length == SPARE_BYTES + 1
    assert segments.give(large) == [large]
    segments.retire()
    assert segments.give(first) == [first]


def test_threads_may_call_at_once(process: Process) -> None:
    A = np.arange(10000.0).reshape(100, 100)
    wrong = []

    def call(number: int) -> None:
        for _ in range(20):
            y = parlinalg.matvec(A, np.full(100, number), backend=process, workers=1 + number % 3)
            wrong.extend([] if np.array_equal(y, A.sum(1) * number) else [y])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_calls_leak_nothing(process: Process, tmp_path: Path) -> None:
    np.save(tmp_path / "A.npy", np.ones((64, 64)))
    x = np.ones(64)

    def calls(times: int) -> None:
        for _ in range(times):
            parlinalg.matvec(np.ones((300, 64)), x, backend=process, workers=2)
            with parlinalg.operator(tmp_path / "A.npy", backend=process, workers=2) as op:
                op.T @ x
        parlinalg.matvec(np.ones((300, 64)), x, backend=process, workers=2)  # what was freed last is swept

    def usage() -> list[int]:
        processes = [psutil.Process(), *children()]
        return [p.num_fds() + p.num_threads() + len(p.memory_maps(grouped=False)) for p in processes]

    calls(20)
    before = usage()
    calls(200)
    assert all(after <= given + 2 for given, after in zip(before, usage(), strict=True))


def test_nothing_of_the_operands_is_run(process: Process) -> None:
    class Canary(np.ndarray[Any, Any]):
        def __reduce__(self) -> Any:
            raise AssertionError("pickled")

    A = np.ones((4, 4)).view(Canary)
    assert parlinalg.matvec(A, A[0], backend=process, workers=2).tolist() == [4.0] * 4


def run(process: Process, task: Any, workers: int = 2) -> Array:
    """What each worker writes."""
    pieces = process.team.scatter(np.ones(10), blocks(10, workers))
    out = np.empty(workers)
    try:
        process.team.allgather(task, pieces, (), out, blocks(workers, workers))
    finally:
        process.team.free(pieces)
    return out


def test_exception_in_a_worker(process: Process) -> None:
    pids = run(process, process_tasks.fill)
    with pytest.raises(BackendError, match=r"worker 0 \(pid \d+ on .*\) raised KeyError: 'from the task'") as raised:
        run(process, partial(process_tasks.fail, kind=KeyError))
    assert "process_tasks.py" in str(raised.value.__cause__)
    assert np.array_equal(run(process, process_tasks.fill), pids)  # the same workers, none of them out of step


def test_out_of_memory_in_a_worker(process: Process) -> None:
    with pytest.raises(MemoryError, match=r"worker 0 .*from the task"):
        run(process, partial(process_tasks.fail, kind=MemoryError))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("SIGKILL", r"was killed by SIGKILL"),
        ("SIGSEGV", r"was killed by SIGSEGV; .*\n.*Segmentation fault"),
        ("exit", r"ended with exit code 7"),
    ],
)
def test_worker_that_dies(process: Process, how: str, said: str) -> None:
    pids = run(process, process_tasks.fill)
    with parlinalg.operator(np.eye(5), backend=process, workers=2) as op:
        with pytest.raises(BackendError, match=rf"worker 1 \(pid {pids[1]:.0f}\) {said}"):
            run(process, partial(process_tasks.die, how=how))
        assert (op @ np.arange(5)).tolist() == [0, 1, 2, 3, 4]  # placed before
        assert not set(pids) & set(run(process, process_tasks.fill))


def test_worker_that_was_killed_while_idle(process: Process) -> None:
    os.kill(int(run(process, process_tasks.fill)[1]), 9)
    with pytest.raises(BackendError, match="was killed by SIGKILL"):
        run(process, process_tasks.fill)
    assert run(process, process_tasks.fill).all()


def test_worker_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(children())
    with Process(workers=2) as backend:
        monkeypatch.setattr("sys.path", ["/nonexistent"])
        with pytest.raises(
            BackendError, match=r"(?s)could not start: it ended with exit code 1; .*ModuleNotFoundError"
        ):
            parlinalg.psum(np.ones(10), backend=backend)
        assert len(children()) == before
        monkeypatch.undo()
        assert parlinalg.psum(np.ones(10), backend=backend) == 10
        monkeypatch.setattr("sys.executable", "/nonexistent/python")
        with pytest.raises(BackendError, match="worker 2 could not start: .*No such file"):
            run(backend, process_tasks.fill, 3)


def test_why_not_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Process.why_not() is None
    monkeypatch.setattr("sys.executable", "")
    assert "or use backend='openmp'" in str(Process.why_not())
    assert "memfd" in Process.version() or "unlinked" in Process.version()
