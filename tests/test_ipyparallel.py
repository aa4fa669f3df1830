"""The ipyparallel backend: whose cluster it uses, what travels, and what happens when something of it dies."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import parlinalg as pla
from engine_tasks import fail, mapped, size_of_world, sleep_in_the_second
from parlinalg.backends import IPyParallel
from parlinalg.registry import backend_class
from parlinalg.testing.checks import require_same_bits

if backend_class("ipyparallel").why_not() is not None:
    reason = f"backend 'ipyparallel' cannot run here: {backend_class('ipyparallel').why_not()}"
    pytest.skip(reason, allow_module_level=True)

import ipyparallel

from parlinalg.backends import _engine, _ipyparallel
from parlinalg.backends._cluster import PRIVATE, OwnCluster

SECONDS = 10.0  # in which a death is to be noticed
RNG = np.random.default_rng(0)
A, X = RNG.standard_normal((70, 50)), RNG.standard_normal(50)


@pytest.fixture(scope="module", autouse=True)
def _engines_find_the_tasks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[OwnCluster]:
    """Three engines that stand for a cluster of the user's."""
    started = OwnCluster(3)
    yield started
    started.close()


@pytest.fixture
def backend(cluster: OwnCluster) -> Iterator[IPyParallel]:
    with IPyParallel(client=cluster.client) as made:
        yield made


def members(folder: str) -> list[psutil.Process]:
    """The processes of the cluster in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(PRIVATE) == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def pids(client: Any) -> dict[int, int]:
    """The process of each engine."""
    found: dict[int, int] = client[:].apply_async(os.getpid).get_dict(SECONDS)
    return found


def require_works(backend: IPyParallel) -> None:
    assert np.allclose(pla.matvec(A, X, backend=backend), A @ X)
    require_same_bits(pla.psum(A, backend=backend), pla.psum(A))
    require_same_bits(pla.matvec(A, X, exact=True, backend=backend), pla.matvec(A, X, exact=True))


# Whose engines


def test_the_cluster_of_the_user_is_used_and_not_stopped(cluster: OwnCluster) -> None:
    before = pids(cluster.client)
    with IPyParallel(client=cluster.client) as backend:
        assert (backend.capacity, backend.workers) == (3, 3)
        require_works(backend)
    assert pids(cluster.client) == before


def test_some_engines(cluster: OwnCluster) -> None:
    with IPyParallel(client=cluster.client, engines=[2, 0]) as backend:
        assert backend.capacity == 2
        require_works(backend)
        with pytest.raises(ValueError, match="can use 2 at most"):
            pla.matvec(A, X, backend=backend, workers=3)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"client": 3}, TypeError, "client is 3"),
        ({"engines": [0]}, ValueError, "the client has the engines "),
        ({"threads": 0}, ValueError, "threads is 0"),
        ({"threads": True}, ValueError, "threads is True"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        IPyParallel(**options)


def test_engines_that_there_are_not(cluster: OwnCluster) -> None:
    with pytest.raises(ValueError, match=r"engines is \[0, 7\]; the client has the engines \[0, 1, 2\]"):
        IPyParallel(client=cluster.client, engines=[0, 7])


def test_the_cluster_of_the_default_profile_is_found(cluster: OwnCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_file(**options: Any) -> Any:
        assert options == {"profile": "default", "cluster_id": ""}
        return cluster._cluster

    monkeypatch.setattr(ipyparallel.Cluster, "from_file", from_file)
    with IPyParallel() as backend:
        require_works(backend)
        assert backend.team._own is None
        assert len(backend.team.ids()) == 3


def test_engines_that_mpi_starts(tmp_path: Path) -> None:
    """As a notebook drives ranks of MPI."""
    cluster = ipyparallel.Cluster(
        engines="mpi", n=2, profile_dir=str(tmp_path), cluster_id="", cluster_file="", controller_ip="127.0.0.1"
    )
    with cluster as client:
        client.wait_for_engines(2, timeout=60, interactive=False)
        with IPyParallel(client=client) as backend:
            require_works(backend)
        sizes = client[:].apply_async(size_of_world).get(SECONDS)
        assert sizes == [2, 2]
        client.close()


# What travels


def test_what_the_client_notes_of_messages_does_not_grow(backend: IPyParallel) -> None:
    with IPyParallel() as own:
        for _ in range(20):
            for one in (own, backend):
                pla.psum(A, backend=one, workers=1)
        client = own.team._client
        assert client is not None
        assert len(client.history) < 5
        for one in (own, backend):
            assert all(len(engine.view.history) < 5 for engine in one.team._engines.values())


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that cannot open the files of their client, as on another host."""
    greet = _engine.greet

    def greet_from_afar(*arguments: Any) -> Any:
        return greet(*arguments)._replace(near=False)

    monkeypatch.setattr(_ipyparallel, "greet", greet_from_afar)


def _sees_nothing(part: Any) -> bool:
    return False


@pytest.mark.usefixtures("far")
def test_engines_of_other_hosts_are_sent_what_they_need(
    cluster: OwnCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with IPyParallel(client=cluster.client) as backend:
        require_works(backend)
        np.save(tmp_path / "A.npy", A)
        with pla.operator(tmp_path / "A.npy", backend=backend) as op:
            assert np.allclose(op @ X, A @ X)
            assert np.allclose(op.T @ A[:, 0], A.T @ A[:, 0])
            maps = backend.team._given[0].apply_async(mapped).get(SECONDS)  # type: ignore[index]
            assert any("A.npy" in line for line in maps), "a file that the engine sees is sent"
        monkeypatch.setattr(_ipyparallel, "sees", _sees_nothing)
        with pla.operator(tmp_path / "A.npy", backend=backend) as op:
            assert np.allclose(op @ X, A @ X)
        with pytest.raises(pla.BackendError, match="on purpose"):
            backend.team.allgather(fail, backend.team.scatter(A, [range(70)]), (), np.empty(1), [range(1)])


def test_near_engines_map_what_they_work_on(backend: IPyParallel, tmp_path: Path) -> None:
    np.save(tmp_path / "A.npy", A)
    with pla.operator(tmp_path / "A.npy", backend=backend) as op:
        assert np.allclose(op @ X, A @ X)
        assert all(engine._here is not None and engine._here.near for engine in backend.team._engines.values())
        maps = backend.team._given[0].apply_async(mapped).get(SECONDS)  # type: ignore[index]
        assert any("A.npy" in line for line in maps)


def test_engines_forget_what_is_closed(backend: IPyParallel) -> None:
    for _ in range(30):
        with pla.operator(np.ones((2000, 2000)), backend=backend) as op:
            op @ np.ones(2000)
    require_works(backend)
    segments = backend.team._given[0].apply_async(mapped).get(SECONDS)  # type: ignore[index]
    assert sum("parlinalg-segment" in line for line in segments) < 10


def test_engines_that_some_calls_leave_out_forget_too(backend: IPyParallel) -> None:
    for rows in range(4500, 5300, 100):  # too large to be used again
        with pla.operator(np.ones((rows, 2000)), backend=backend, workers=3) as op:
            op @ np.ones(2000)
        assert pla.psum(A, backend=backend, workers=1) == pla.psum(A)
    require_works(backend)
    segments = backend.team._given[2].apply_async(mapped).get(SECONDS)  # type: ignore[index]
    assert sum("parlinalg-segment" in line for line in segments) < 6


# Faults


def test_a_task_that_raises(backend: IPyParallel) -> None:
    with pytest.raises(pla.BackendError, match="ArithmeticError: on purpose") as caught:
        backend.team.allgather(fail, backend.team.scatter(A, [range(70)]), (), np.empty(1), [range(1)])
    assert "raise ArithmeticError" in str(caught.value.__cause__)
    require_works(backend)


def test_an_engine_that_is_killed() -> None:
    started = OwnCluster(2)
    try:
        backend = IPyParallel(client=started.client)
        with pla.operator(A, backend=backend) as op:
            assert np.allclose(op @ X, A @ X)
            number, pid = sorted(pids(started.client).items())[1]
            pieces = backend.team.scatter(A, [range(35), range(35, 70)])
            with subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(1); os.kill({pid}, 9)"]):
                start = time.monotonic()
                with pytest.raises(pla.BackendError, match=rf"engine {number} \(pid {pid} on .*is lost"):
                    backend.team.allgather(sleep_in_the_second, pieces, (), np.empty(2), [range(1), range(1, 2)])
                assert time.monotonic() - start < SECONDS
            assert np.allclose(op @ X, A @ X), "the matrix is not placed again"
        require_works(backend)
    finally:
        started.close()


def test_an_engine_that_is_stopped_for_ever() -> None:
    started = OwnCluster(1)
    try:
        with IPyParallel(client=started.client) as backend:
            require_works(backend)
            (pid,) = pids(started.client).values()
            os.kill(pid, signal.SIGSTOP)
            start = time.monotonic()
            with pytest.raises(pla.BackendError, match=rf"engine 0 \(pid {pid} on .*is lost"):
                pla.psum(A, backend=backend)
            assert time.monotonic() - start < SECONDS
    finally:
        started.close()


@pytest.mark.parametrize(
    ("call", "within"),
    [
        (lambda backend: pla.psum(A, backend=backend), 1.5 * SECONDS),
        (lambda backend: pla.pmap(abs, [1, 2], backend=backend), SECONDS),
    ],
    ids=["sum", "map"],
)
def test_a_controller_that_is_killed(call: Callable[[IPyParallel], object], within: float) -> None:
    started = OwnCluster(1)
    try:
        backend = IPyParallel(client=started.client)
        require_works(backend)
        for process in members(started.folder):
            if "ipyparallel.controller" in process.cmdline():
                process.kill()
        start = time.monotonic()
        with pytest.raises(pla.BackendError, match="controller of the cluster does not answer"):
            call(backend)
        assert time.monotonic() - start < within
    finally:
        started.close()


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)", "raise SystemExit", "1 / 0"])
def test_nothing_is_left_of_a_client_that_ends(end: str) -> None:
    program = f"""
    import os
    import parlinalg as pla
    from parlinalg.registry import default_instance
    assert pla.psum([1.0, 2.0], backend="ipyparallel", workers=1) == 3
    print(default_instance("ipyparallel").team._own.folder, flush=True)
    {end}
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=100)  # noqa
    folder = done.stdout.strip()
    assert "parlinalg-engines-" in folder
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and (members(folder) or os.path.exists(folder)):
        time.sleep(0.1)
    assert members(folder) == []
    assert not os.path.exists(folder)


def test_a_cluster_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, **options: Any) -> Any:
        raise TimeoutError("too late")

    monkeypatch.setattr(ipyparallel.Cluster, "start_cluster_sync", refuse, raising=False)
    with IPyParallel() as backend, pytest.raises(pla.BackendError, match="could not start: too late"):
        pla.psum(A, backend=backend)


@pytest.mark.parametrize("where", ["Cluster.start_cluster_sync", "Client.wait_for_engines"])
@pytest.mark.usefixtures("cluster")
def test_nothing_is_left_of_a_start_that_is_interrupted(
    where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    gc.collect()
    process = psutil.Process()
    descriptors, threads = process.num_fds(), process.num_threads()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(f"ipyparallel.{where}", interrupt, raising=False)
    with pytest.raises(KeyboardInterrupt):
        OwnCluster(1)
    gc.collect()
    assert process.num_fds() <= descriptors
    assert process.num_threads() <= threads
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_ends_although_what_watches_it_was_killed() -> None:
    started = OwnCluster(1)
    (watch,) = [child for child in psutil.Process().children() if started.folder in child.cmdline()]
    watch.kill()
    assert members(started.folder)
    started.close()
    assert members(started.folder) == []
    assert not os.path.exists(started.folder)


@pytest.mark.parametrize("fork", [os.fork, ctypes.PyDLL(None).fork], ids=["Python", "C"])
def test_a_forked_child_says_that_it_cannot_use_engines(fork: Callable[[], int], backend: IPyParallel) -> None:
    require_works(backend)
    # A thread that asks for Python's lock while a process forks is one that the child then waits for, without end.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)
    time.sleep(0.05)  # for those that wait already
    try:
        child = fork()
        if child == 0:
            try:
                pla.psum(A, backend=backend)
            except pla.BackendError as error:
                os._exit(7 if "forked" in str(error) else 1)
            os._exit(2)
    finally:
        sys.setswitchinterval(interval)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    require_works(backend)


def test_several_threads_on_two_backends(cluster: OwnCluster, backend: IPyParallel) -> None:
    with IPyParallel(client=cluster.client, engines=[1]) as other:
        futures = [one.submit(partial(pla.psum, A, backend=one)) for one in (backend, other) for _ in range(5)]
        for future in futures:
            require_same_bits(future.result(timeout=60), pla.psum(A))


def test_the_example_measures() -> None:
    example = Path(__file__).parents[1] / "docs" / "examples" / "engines.py"
    done = subprocess.run([sys.executable, str(example), "--quick"], capture_output=True, text=True, timeout=100)  # noqa: PLW1510
    assert done.returncode == 0, done.stderr
    assert [line.split(" ")[0] for line in done.stdout.splitlines()] == ["openmp,", "ipyparallel,", "push,", "placing"]
