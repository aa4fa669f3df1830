"""Who computes a call, and why: arguments, set_backend, the environment, and the choice of auto."""

from __future__ import annotations

import contextvars
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import parlinalg
from parlinalg import BackendUnavailable, _kernels, explain, matvec, operator, psum, registry, set_backend
from parlinalg.backends import Backend, NumPy, OpenMP, Resident
from parlinalg.dispatch import choose
from parlinalg.plan import MatvecPlan, SumPlan, plan_matvec, plan_sum
from parlinalg.registry import default_instance

A, X = np.ones((3, 4)), np.ones(4)
THREADS_ARE_LATE = _kernels.threads_are_late
SMALL = plan_matvec((3, 4), A.dtype, (4,), A.dtype)
LARGE = plan_matvec((4000, 4000), np.dtype(int), (4000,), np.dtype(int))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARLINALG_BACKEND", raising=False)
    monkeypatch.delenv("PARLINALG_WORKERS", raising=False)


class Recorder(NumPy):
    """Says which calls came to it, and refuses sums and whatever is float16."""

    name = "recorder"
    capacity = 3
    workers = 2

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def refuses(self, plan: MatvecPlan | SumPlan) -> str | None:
        return "device 'X' has no float16" if plan.dtype == np.float16 else None

    def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
        self.calls.append(("matvec", workers))
        super().matvec(A, x, out, workers, exact=exact)

    def place(self, A: Any, workers: int) -> Resident:
        self.calls.append(("place", workers))
        return super().place(A, workers)

    def write_sums(self, a: Any, kept: int, out: Any, workers: int) -> None:
        self.calls.append(("write_sums", workers))
        super().write_sums(a, kept, out, workers)


class Broken(NumPy):
    name = "broken"

    @classmethod
    def why_not(cls) -> str | None:
        return "it is broken. Mend it"


def chosen(**options: Any) -> tuple[str, int, str]:
    choice = explain(A, X, **options)
    return choice.backend.name, choice.workers, choice.reason


# Arguments


def test_a_name_means_the_shared_instance() -> None:
    assert explain(A, X, backend="numpy").backend is default_instance("numpy")
    assert explain(A, X, backend="openmp").backend is default_instance("openmp")


def test_an_instance_is_used_itself_with_its_own_number_of_workers() -> None:
    mine = Recorder()
    assert chosen(backend=mine) == ("recorder", 2, "asked for")
    matvec(A, X, backend=mine)
    psum(A, backend=mine, workers=3)
    with operator(A, backend=mine, workers=1):
        pass
    assert mine.calls == [("matvec", 2), ("write_sums", 3), ("place", 1)]


def test_workers() -> None:
    assert chosen(backend="openmp", workers=3)[1] == 3
    assert chosen(backend="openmp", workers=-1)[1] == parlinalg.workers.cpu_count()
    assert chosen(backend="numpy")[1] == 1
    assert chosen(backend="openmp", workers=np.int64(2))[1] == 2


@pytest.mark.parametrize("workers", [0, 4, -10_000, 10**12])
def test_a_number_of_workers_that_cannot_be_is_an_error(workers: int) -> None:
    with pytest.raises(ValueError, match="workers"):
        explain(A, X, backend=Recorder(), workers=workers)


@pytest.mark.parametrize("workers", ["2", 2.0, True, [2], object()])
def test_workers_of_another_type_are_an_error(workers: Any) -> None:
    with pytest.raises(TypeError, match="workers"):
        explain(A, X, backend="numpy", workers=workers)


@pytest.mark.parametrize(
    ("given", "hint"),
    [("opncl", "did you mean 'opencl'?"), ("OpenMP", "did you mean 'openmp'?"), ("proces", "did you mean 'process'?")],
)
def test_an_unknown_name_gets_a_suggestion(given: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"unknown backend {given!r}; known: 'auto', 'numpy'")) as caught:
        matvec(A, X, backend=given)
    assert str(caught.value).endswith(hint)


def test_a_name_like_no_other_gets_none() -> None:
    with pytest.raises(ValueError, match=r"^unknown backend 'zzz'; known: .*'toy-threads'$"):
        psum(A, backend="zzz")


@pytest.mark.parametrize("backend", [3, None.__class__, b"numpy", OpenMP])
def test_a_backend_of_another_type_is_an_error(backend: Any) -> None:
    with pytest.raises(TypeError, match="it must be a name, or an instance of a subclass of Backend"):
        matvec(A, X, backend=backend)


# What cannot run


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("parlinalg.registry.backend_class", lambda name: Broken)
    return "broken"


def test_a_backend_that_cannot_run_says_why_and_is_never_replaced(broken: str) -> None:
    for call in (
        lambda: matvec(A, X, backend=broken),
        lambda: psum(A, backend=broken),
        lambda: operator(A, backend=broken),
        lambda: explain(A, X, backend=broken),
        lambda: set_backend(broken),
    ):
        with pytest.raises(BackendUnavailable, match=r"^backend 'broken' cannot run here: it is broken. Mend it$"):
            call()
    assert chosen()[2] != "chosen by set_backend"


@pytest.mark.parametrize("name", [name for name, info in parlinalg.backends().items() if not info.available])
def test_each_backend_that_cannot_run_here_says_why(name: str) -> None:
    reason = parlinalg.backends()[name].why_not
    with pytest.raises(BackendUnavailable, match=re.escape(f"backend {name!r} cannot run here: {reason}")):
        matvec(A, X, backend=name)


def test_a_backend_that_refuses_a_call_says_why_and_is_never_replaced() -> None:
    mine, half = Recorder(), A.astype(np.float16)
    words = "backend 'recorder' cannot run this call: device 'X' has no float16"
    with pytest.raises(BackendUnavailable, match=re.escape(words)):
        matvec(half, X.astype(np.float16), backend=mine)
    with pytest.raises(BackendUnavailable, match=re.escape(words)):
        psum(half, backend=mine)
    with pytest.raises(BackendUnavailable, match=re.escape(words)):
        operator(half, backend=mine)
    assert mine.calls == []


def test_errors_of_a_backend_come_through() -> None:
    class Failing(Recorder):
        def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
            raise parlinalg.BackendError("worker 1 died")

    with pytest.raises(parlinalg.BackendError, match="worker 1 died"):
        matvec(A, X, backend=Failing())


# auto


def test_auto_is_serial_below_a_size_and_parallel_above_it() -> None:
    small, large = choose(SMALL, "auto", None), choose(LARGE, None, None)
    assert (small.backend.name, small.workers) == ("openmp", 1)
    assert small.reason == "the least time is predicted"
    assert (large.backend.name, large.workers) == ("openmp", min(2, parlinalg.default_workers()))
    assert choose(plan_sum((10**6,), A.dtype), None, None).workers == min(2, parlinalg.default_workers())


def test_auto_leaves_threads_that_come_late_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernels, "threads_are_late", THREADS_ARE_LATE)
    large = np.ones((1500, 1500))
    try:
        _kernels.note(0.1, 1000)  # a call that took 0.1 seconds, as others do in a millisecond
        assert str(choose(LARGE, None, None)) == (
            "openmp, 1 worker: threads came late just now: other programs keep the processors busy"
        )
        assert matvec(large, large[0]).tolist() == [1500.0] * 1500
        assert choose(LARGE, None, 2).workers == 2
    finally:
        _kernels.note(0.001, 1000)
    assert choose(LARGE, None, None).workers == min(2, parlinalg.default_workers())


def test_auto_takes_the_number_of_workers_that_is_asked_for() -> None:
    assert chosen(workers=2)[:2] == ("openmp", 2)
    assert chosen(backend="auto", workers=3)[:2] == ("openmp", 3)


def test_auto_without_openmp_is_numpy_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenMP, "why_not", classmethod(lambda cls: "no OpenMP. Build again"))
    monkeypatch.setattr(registry, "_instances", {})
    assert chosen() == ("numpy", 1, "backend 'openmp' cannot run here: no OpenMP. Build again")
    assert matvec(A, X).tolist() == [4.0] * 3


def test_the_text_of_a_choice() -> None:
    assert str(explain(A, X, backend="openmp", workers=2)).splitlines()[0] == "openmp, 2 workers: asked for"
    assert str(explain(A, X)).startswith("openmp, 1 worker: ")


# set_backend and the environment


def test_set_backend_holds_to_the_end_of_the_block() -> None:
    before = chosen()
    mine = Recorder()
    with set_backend(mine):
        matvec(A, X)
        psum(A)
        assert chosen() == ("recorder", 2, "chosen by set_backend")
        with set_backend("numpy"):
            assert chosen() == ("numpy", 1, "chosen by set_backend")
        assert chosen()[0] == "recorder"
        with set_backend("auto"):
            assert chosen() == before
        assert chosen(backend="openmp", workers=1)[0] == "openmp"
    assert chosen() == before
    assert mine.calls == [("matvec", 2), ("write_sums", 2)]


def test_set_backend_as_a_function_holds_from_then_on() -> None:
    def body() -> tuple[str, int, str]:
        set_backend("openmp", workers=2)
        return chosen()

    before = chosen()
    assert contextvars.Context().run(body) == ("openmp", 2, "chosen by set_backend")
    assert chosen() == before


def test_set_backend_ends_with_the_block_that_raises() -> None:
    before = chosen()
    with pytest.raises(ZeroDivisionError), set_backend("numpy"):
        raise ZeroDivisionError
    assert chosen() == before


def test_workers_of_set_backend() -> None:
    with set_backend("openmp", workers=2):
        assert chosen()[1] == 2
        assert chosen(workers=1)[1] == 1
        assert chosen(backend="numpy")[1] == 1  # its own default: the 2 was said of openmp
    with set_backend("auto", workers=2):
        assert chosen()[:2] == ("openmp", 2)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("opemp",), ValueError, "unknown backend 'opemp'"),
        ((3,), TypeError, "backend is 3"),
        (("openmp", 0), ValueError, "workers"),
        (("numpy", 2), ValueError, "workers"),
        (("toy-absent",), BackendUnavailable, "backend 'toy-absent' cannot run here"),
    ],
)
def test_set_backend_refuses_what_a_call_would(arguments: Any, error: type[Exception], words: str) -> None:
    before = chosen()
    with pytest.raises(error, match=words):
        set_backend(*arguments)
    assert chosen() == before


def test_set_backend_does_not_reach_other_threads() -> None:
    with set_backend("numpy"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(chosen).result(timeout=30)[0] == "openmp"
        context = contextvars.copy_context()
        assert pool.submit(context.run, chosen).result(timeout=30)[0] == "numpy"


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLINALG_BACKEND", "numpy")
    assert chosen() == ("numpy", 1, "chosen by PARLINALG_BACKEND")
    assert chosen(backend="openmp", workers=1)[2] == "asked for"
    with set_backend("openmp"):
        assert chosen()[::2] == ("openmp", "chosen by set_backend")
    monkeypatch.setenv("PARLINALG_BACKEND", "")
    assert chosen()[0] == "openmp"


def test_a_wrong_environment_is_an_error_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLINALG_BACKEND", "opemp")
    with pytest.raises(ValueError, match="unknown backend 'opemp'"):
        matvec(A, X)
    monkeypatch.delenv("PARLINALG_BACKEND")
    monkeypatch.setenv("PARLINALG_WORKERS", "many")
    with pytest.raises(ValueError, match="PARLINALG_WORKERS.*many"):
        matvec(np.ones((1000, 1000)), np.ones(1000), backend="openmp")


def test_the_environment_sets_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLINALG_WORKERS", "3")
    assert chosen(backend="openmp")[1] == 3
    assert chosen(backend="numpy")[1] == 1
    assert chosen(backend="openmp", workers=1)[1] == 1


def test_after_a_fork_a_child_computes() -> None:
    rng = np.random.default_rng(0)
    big, x = rng.standard_normal((700, 300)), rng.standard_normal(300)
    expected = matvec(big, x, backend="openmp", workers=2)
    before = default_instance("openmp")
    child = os.fork()
    if child == 0:
        right = np.array_equal(matvec(big, x, backend="openmp", workers=2), expected)
        os._exit(0 if right and default_instance("openmp") is not before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert default_instance("openmp") is before


def test_backend_is_abstract() -> None:
    with pytest.raises(TypeError, match="place"):
        Backend()  # type: ignore[abstract]
