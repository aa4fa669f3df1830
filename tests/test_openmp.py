"""What is OpenMP's own: threads, forks, signals, instruction sets, and a build without it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import parlinalg
from parlinalg import _kernels, matvec, operator, psum
from parlinalg.backends import _numpy

pytestmark = pytest.mark.skipif(not _kernels.openmp_version(), reason="parlinalg was built without OpenMP")

TIMEOUT = 60  # seconds; a hang, not a slow machine


def run(program: str, **environment: str) -> str:
    """Run a program in a process of its own, so that a hang or a crash is its own; return what it prints."""
    preamble = """
        import os, signal, sys, threading, time
        import numpy as np
        import parlinalg

        A = np.random.default_rng(0).standard_normal((400, 500))
        x = np.ones(500)

        def right():
            y = parlinalg.matvec(A, x, backend="openmp", workers=2)
            return np.allclose(y, A.sum(axis=1)) and parlinalg.psum(A, backend="openmp", workers=2) == TOTAL

        TOTAL = parlinalg.psum(A, backend="numpy")
    """
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(preamble) + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=os.environ | environment,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


FORK = """
    def in_child(task):
        child = FORK_CALL
        if child == 0:
            os._exit(0 if task() else 1)
        return os.waitpid(child, 0)[1] == 0

    assert right()
    for _ in range(20):
        assert in_child(right)
        assert right()
    assert in_child(lambda: right() and in_child(right))   # a grandchild
    print("done")
"""


def test_children_of_os_fork_compute() -> None:
    assert run(FORK.replace("FORK_CALL", "os.fork()")) == "done"


def test_children_of_a_fork_by_c_code_compute() -> None:
    assert (
        run("import ctypes\nlibc = ctypes.CDLL(None)\n" + textwrap.dedent(FORK.replace("FORK_CALL", "libc.fork()")))
        == "done"
    )


def test_forks_while_another_thread_computes() -> None:
    program = """
        stop = threading.Event()
        def work():
            while not stop.is_set():
                assert right()
        threads = [threading.Thread(target=work) for _ in range(2)]
        for t in threads: t.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(0 if right() else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for t in threads: t.join()
        print("done")
    """
    assert run(program) == "done"


def test_calls_can_be_submitted_in_a_child() -> None:
    program = """
        from parlinalg.backends import OpenMP
        backend = OpenMP()
        assert backend.submit(right).result()
        child = os.fork()
        if child == 0:
            os._exit(0 if backend.submit(right).result(timeout=30) else 1)
        print(os.waitpid(child, 0)[1])
    """
    assert run(program) == "0"


def test_several_python_threads_get_the_same_bits() -> None:
    rng = np.random.default_rng(1)
    A, x = rng.standard_normal((300, 301)), rng.standard_normal(301)
    y, total = parlinalg.matvec(A, x, backend="openmp", workers=2), parlinalg.psum(A, backend="openmp", workers=2)
    wrong: list[int] = []

    def work() -> None:
        for i in range(100):
            again = parlinalg.matvec(A, x, backend="openmp", workers=2)
            if again.tobytes() != y.tobytes() or parlinalg.psum(A, backend="openmp", workers=2) != total:
                wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_ctrl_c_is_answered_between_blocks() -> None:
    program = """
        big = np.broadcast_to(np.float64(1), (40_000_000, 1000))    # 320 GB that take no memory: minutes of work
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            parlinalg.CALL
        except KeyboardInterrupt:
            print("interrupted", right())
    """
    call = 'psum(big, backend="openmp", workers=2)'
    assert run(program.replace("CALL", call)) == "interrupted True"
    call = 'matvec(big, np.ones(1000), backend="openmp", workers=2)'
    assert run(program.replace("CALL", call)) == "interrupted True"


def test_thread_counts_of_others_are_neither_used_nor_changed() -> None:
    program = """
        from threadpoolctl import threadpool_info
        def counts():
            return sorted((p["user_api"], p["num_threads"]) for p in threadpool_info())
        before = counts()
        assert right()
        print(counts() == before)
    """
    pytest.importorskip("threadpoolctl")
    assert run(program, OMP_NUM_THREADS="1") == "True"
    assert run(program, OMP_NUM_THREADS="3", OMP_DYNAMIC="true") == "True"


def test_fewer_threads_than_asked_for_still_do_all_the_work() -> None:
    assert run("print(right())", OMP_THREAD_LIMIT="1") == "True"


@pytest.mark.parametrize("name", _kernels.available())
def test_every_instruction_set_gives_the_same_sums(name: str) -> None:
    program = """
        from parlinalg import _kernels
        rng = np.random.default_rng(2)
        values = np.ldexp(rng.standard_normal(10_000), rng.integers(-1000, 1000, 10_000))
        integers = rng.integers(-128, 128, (300, 301), dtype=np.int8)
        y = parlinalg.matvec(integers, integers[0], backend="openmp", workers=2)
        print(_kernels.simd(), parlinalg.psum(values).hex(), y.tobytes().hex(), right())
    """
    reference = run(program, PARLINALG_SIMD="baseline").split()
    assert run(program, PARLINALG_SIMD=name).split() == [name, *reference[1:]]


@pytest.mark.parametrize("name", _kernels.available())
def test_every_instruction_set_adds_integers_at_their_limits(name: str) -> None:
    program = """
        rng = np.random.default_rng(3)
        for character in "?bBhHiIqQ":
            dtype = np.dtype(character)
            ends = (0, 1) if character == "?" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            for n in (*range(0, 140), 70_001):
                drawn = rng.integers(*ends, n, np.uint8 if character == "?" else dtype, True).astype(dtype)
                for a in (drawn, np.full(n, ends[0], dtype), np.full(n, ends[1], dtype), drawn[1:]):
                    assert parlinalg.psum(a) == a.sum(), (dtype, n)
        print("ok")
    """
    assert run(program, PARLINALG_SIMD=name) == "ok"


def test_an_unknown_instruction_set_is_refused() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", "import parlinalg"],
        env=os.environ | {"PARLINALG_SIMD": "avx1024"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PARLINALG_SIMD='avx1024' cannot be used here; use one of baseline" in finished.stderr


def test_more_workers_than_the_capacity_are_refused() -> None:
    with pytest.raises(ValueError, match="workers"):
        parlinalg.matvec(np.eye(3), np.ones(3), backend="openmp", workers=10**6)


@pytest.mark.parametrize("shape", [(1, 100_000), (3, 50_000), (50_000, 3), (2, 7), (64, 1)])
def test_columns_are_split_where_rows_are_few(shape: tuple[int, int]) -> None:
    A: NDArray[np.int64] = np.random.default_rng(3).integers(-(2**60), 2**60, shape)
    x = np.arange(shape[1]) - 5
    for workers in (1, 2, 3, 5):
        for layout in (A, np.asfortranarray(A)):
            assert (parlinalg.matvec(layout, x, backend="openmp", workers=workers) == np.matvec(A, x)).all()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shape", [(1, 40_000_000), (3, 12_000_000), (12_000_000, 3)])
def test_large_products_and_sums_are_done_in_parts(shape: tuple[int, int], workers: int) -> None:
    A = np.broadcast_to(np.arange(shape[1], dtype=float) % 7, shape)
    x = np.ones(shape[1])
    options: dict[str, Any] = {"backend": "openmp", "workers": workers}
    total = float(A[0].sum())
    assert (matvec(A, x, **options) == np.full(shape[0], total)).all()
    assert (psum(A, axis=1, **options) == np.full(shape[0], total)).all()
    assert psum(A, **options) == total * shape[0]
    assert psum(A, axis=0, **options)[:7].tolist() == [shape[0] * (j % 7.0) for j in range(min(7, shape[1]))]
    assert psum(A.astype(np.int8), **options) == int(total) * shape[0]


def test_large_matrix_products_are_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_numpy, "MULTIPLICATIONS", 1)
    A, X = np.arange(3000.0).reshape(600, 5), np.arange(15.0).reshape(5, 3)
    for backend in ("numpy", "openmp"):
        with operator(A, backend=backend) as op:
            assert (op @ X).tolist() == (A @ X).tolist()


def test_no_more_threads_are_started_than_the_address_space_has_room_for() -> None:
    program = """
        import resource
        expected = parlinalg.psum(A, backend="numpy")
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (30 << 20), resource.RLIM_INFINITY))
        for workers in (2, 8, 64):
            assert parlinalg.psum(A, backend="openmp", workers=workers) == expected
        print("right")
    """
    assert run(program) == "right"


@pytest.mark.parametrize("shape", [(1, 2), (2, 33), (40, 5), (100, 40)])
def test_products_of_operators_have_the_bits_of_calls(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    A, x = rng.standard_normal(shape), rng.standard_normal(shape[1])
    for workers in (1, 2, 3):
        with operator(A, backend="openmp", workers=workers) as op:
            assert (op @ x).tobytes() == matvec(A, x, backend="openmp", workers=workers).tobytes()


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("n", [1, 5, 1000])
def test_conjugates_with_strided_rows(n: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    parts = rng.integers(-3, 4, (2, 4, 2 * n))
    A, x = (parts[0] + 1j * parts[1]).astype(dtype)[:, ::2], (parts[0, 0, :n] - 1j * parts[1, 0, :n]).astype(dtype)
    y = np.empty(4, dtype)
    _kernels.matvec(A, x, y, 1, True)
    assert y.tolist() == (A @ x.conj()).tolist()
