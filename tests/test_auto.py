"""The choice of auto: by predicted times, seen by the caller, and the same bits where that is asked for."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import parlinalg
from parlinalg import _small, dispatch, explain, matvec, operator, psum, set_backend
from parlinalg.backends import NumPy
from parlinalg.dispatch import current_model, use_model
from parlinalg.model import Candidate, Curve, Model
from parlinalg.plan import MatvecPlan, SumPlan
from parlinalg.profiles import builtin
from parlinalg.registry import default_instance

A, X = np.ones((3, 4)), np.ones(4)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARLINALG_BACKEND", raising=False)
    monkeypatch.delenv("PARLINALG_WORKERS", raising=False)


@pytest.fixture
def model() -> Iterator[Callable[..., Model]]:
    """Makes a model of one kind of call in use, until the end of the test."""
    before = current_model()

    def make(**seconds: tuple[float, ...]) -> Model:
        names = {"one": Candidate("openmp", 1), "two": Candidate("openmp", 2), "blas": Candidate("numpy", 1)}
        sizes = tuple(float(1 << (15 + 3 * i)) for i in range(3))
        curves = {names[name]: Curve(sizes, found) for name, found in seconds.items()}
        use_model(Model(dict.fromkeys(KINDS, curves), "of a test"))
        return current_model()

    yield make
    use_model(before)


KINDS = [f"{operation} float64 {layout}" for operation in ("matvec", "exact", "sum") for layout in ("rows", "other")]


def test_auto_takes_the_least_predicted_time(model: Callable[..., Model]) -> None:
    model(one=(1e-6, 8e-6, 64e-6), two=(5e-6, 6e-6, 33e-6), blas=(4e-6, 9e-6, 20e-6))
    names = []
    for n in (60, 190, 512):
        square, x = np.ones((n, n)), np.ones(n)
        choice = explain(square, x)
        names.append((choice.backend.name, choice.workers))
        assert "measurements of a test" in choice.reason
        assert f"for {8 * n * n} bytes of 'matvec float64 rows'" in choice.reason
        assert matvec(square, x).tolist() == [n] * n
    workers = min(2, parlinalg.default_workers())
    assert names == [("openmp", 1), ("openmp", workers), ("numpy", 1)]
    assert explain(np.ones((512, 512), int), np.ones(512, int)).backend.name == "openmp"  # BLAS has no integers


def test_explain_does_not_call_slower_what_is_not(model: Callable[..., Model]) -> None:
    model(one=(1e-6, 2e-6, 9e-6), blas=(1e-6, 2e-6, 10e-6))
    text = str(explain(np.ones((512, 512)), np.ones(512)))
    assert re.search(r"^openmp +1 +[0-9.]+ us  not surely faster$", text, re.MULTILINE), text


def test_the_short_cut_and_the_general_way_choose_alike(model: Callable[..., Model]) -> None:
    model(one=(1e-6, 8e-6, 64e-6), two=(5e-6, 6e-6, 33e-6), blas=(4e-6, 9e-6, 20e-6))
    for n in (60, 190, 512):
        for square in (np.random.default_rng(n).random((n, n)), np.random.default_rng(n).random((n, n)).T):
            expected = matvec.__wrapped__(square, square[0])  # type: ignore[attr-defined]
            assert matvec(square, square[0]).tobytes() == expected.tobytes()


def test_a_doubted_probe_is_repeated_after_pauses_that_become_longer(
    model: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = dataclasses.replace(model(one=(1e-6, 8e-6, 64e-6), two=(9e-6, 9e-6, 90e-6)), doubted=True)
    fast = model(one=(1e-6, 8e-6, 64e-6), two=(1e-6, 4e-6, 32e-6))
    found = iter([slow, slow, fast])
    monkeypatch.setattr(dispatch, "stored", lambda path: None)
    monkeypatch.setattr(dispatch, "scaled_to_this_host", lambda *args: next(found))
    monkeypatch.setattr(dispatch, "_pause", 1000)
    dispatch._models.clear()
    _small.forget_steps(math.inf)
    square = np.ones((512, 512))
    for wanted, pause in ((slow, 4000), (slow, 16000), (fast, dispatch.FIRST_PAUSE)):
        for _ in range(2):  # compiled code asks, and remembers
            assert psum(square) == 512 * 512
            assert (dispatch._models, dispatch._pause) == ([wanted], pause)
        assert not _small.steps_are_old()
        _small.forget_steps(0.001)
        time.sleep(0.002)
        assert _small.steps_are_old()


def test_a_product_by_blas_reports_nothing_as_all_others(model: Callable[..., Model]) -> None:
    model(one=(1e-3, 1e-3, 1e-3), blas=(1e-6, 1e-6, 1e-6))
    huge, out = np.full((200, 200), 1e308), np.empty(200)
    with np.errstate(all="raise"):
        assert explain(huge, huge[0]).backend.name == "numpy"
        for y in (matvec(huge, huge[0]), matvec(huge, huge[0], out), matvec(huge, huge[0], out[::-1])):
            assert np.isinf(y).all()


def test_the_choice_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "parlinalg.dispatch"):
        matvec(A, X, exact=True)
        psum(tuple(A.tolist()))
    assert [record.getMessage()[:10] for record in caplog.records] == ["matvec of ", "psum of Su"]
    assert "openmp, 1 worker: " in caplog.text


def test_explain_tells_of_every_backend() -> None:
    text = str(explain(A, X))
    for name in parlinalg.backends():
        assert re.search(rf"^{name} ", text, re.MULTILINE), text
    assert re.search(r"^openmp +1 +[0-9.]+ us  chosen$", text, re.MULTILINE), text


def test_deterministic_products_are_exact() -> None:
    rng = np.random.default_rng(0)
    big, x = rng.standard_normal((300, 700)), rng.standard_normal(700)
    expected = matvec(big, x, exact=True)
    with set_backend(deterministic=True):
        assert matvec(big, x).tobytes() == expected.tobytes()
        assert parlinalg.vecmat(x, big.T).tobytes() == expected.tobytes()
        assert (operator(big) @ x).tobytes() == expected.tobytes()
        assert parlinalg.vecdot(big[0], x) == expected[0]
        assert matvec(big.astype(int), x.astype(int)).dtype == int
    for backend, workers in (("numpy", None), ("openmp", 1), ("openmp", 2), ("openmp", 3)):
        with set_backend(backend, workers, deterministic=True):
            assert matvec(big, x).tobytes() == expected.tobytes()


# Devices


class Device(NumPy):
    """With a memory of its own for 8 MB."""

    def room(self) -> float:
        return 8e6

    def refuses(self, plan: MatvecPlan | SumPlan) -> str | None:
        return "no such numbers" if plan.dtype.char == "D" else None


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """By whose profile it is many times as fast as threads, once the matrix is there."""
    found = Device()
    monkeypatch.setattr(dispatch, "usable", lambda name: True)
    monkeypatch.setattr(
        dispatch, "default_instance", lambda name: found if name == "opencl" else default_instance(name)
    )
    before = current_model()
    there = {Candidate("opencl", 1): Curve((1e3, 1e7, 1e9), (3e-6, 4e-6, 1e-3))}
    curves = {kind: dict(of_kind) for kind, of_kind in builtin().curves.items()}
    curves["matvec float64 rows"] |= there
    use_model(Model(curves, "of a test", uploads={"opencl": 1e10}))
    yield found
    use_model(before)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "c16"])
@pytest.mark.parametrize("n", [10, 700, 3000])
def test_operators_go_to_a_device_where_they_are_worth_it(device: Device, dtype: str, n: int) -> None:
    matrix, x = np.ones((n, n), dtype), np.ones(n, dtype)
    worth = n > 10 and matrix.nbytes <= 8e6 and dtype != "c16"
    with operator(matrix) as op:
        assert (op._account.choice.backend is device) == worth
        np.testing.assert_array_equal(op @ x, np.full(n, n, dtype))
    with operator(matrix, workers=1) as op:
        assert op._account.choice.backend is not device
    assert explain(matrix, x).backend is not device


def test_operators_stay_here_where_placing_takes_too_long(device: Device) -> None:
    use_model(Model(current_model().curves, "of a test", uploads={"opencl": 1e7}))
    with operator(np.ones((700, 700))) as op:
        assert op._account.choice.backend is not device


def test_operators_stay_here_without_a_profile() -> None:
    assert builtin().worth_placing("matvec float64 rows", 1e7) is None
