"""The kit can fail: each of these broken backends is caught by it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings

from parlinalg import BackendUnavailable
from parlinalg.backends import Backend, NumPy, Resident
from parlinalg.backends._numpy import ArrayInMemory, multiply
from parlinalg.testing import check_backend
from parlinalg.testing.checks import must_raise, require, require_same_bits, unchanged


class Named(NumPy):
    capacity = None  # type: ignore[assignment]
    exact_products = False
    name = "broken"

    def place(self, A: Any, workers: int) -> Resident:
        return Through(self, A, workers)


class Through(ArrayInMemory):
    """Products by the method of the backend, so that one mistake is in both."""

    def __init__(self, backend: Backend, A: Any, workers: int) -> None:
        super().__init__(A)
        self.backend, self.workers = backend, workers

    def matvec(self, x: Any, out: Any, *, exact: bool = False) -> None:
        self.backend.matvec(self.A, x, out, self.workers)


class LosesRows(Named):
    def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
        rows = A.shape[-2] // workers * workers
        out[..., rows:] = 0
        multiply(A[..., :rows, :], x, out[..., :rows])


class Accumulates(Named):
    def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
        result = np.empty_like(out)
        multiply(A, x, result)
        out += result


class SinglePrecision(Named):
    def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
        narrow = np.float32 if out.dtype == np.float64 else out.dtype
        out[...] = np.matvec(A.astype(narrow), x.astype(narrow))


class IntegersInFloats(Named):
    def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
        if out.dtype.kind in "iu" and out.itemsize == 8:
            with np.errstate(all="ignore"):
                out[...] = np.matvec(A.astype(float), x.astype(float)).astype(out.dtype)
        else:
            multiply(A, x, out)


class Conjugates(Named):
    def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
        multiply(A, x.conj(), out)


class ScribblesOnX(Named):
    def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
        multiply(A, x, out)
        if x.flags.writeable and x.size:
            x[..., 0] = 1


class IgnoresByteOrder(Named):
    def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
        multiply(A.view(A.dtype.newbyteorder("=")), x, out)


class OneShotDiffers(Named):
    def place(self, A: Any, workers: int) -> Resident:
        return ArrayInMemory(A[..., ::-1, :])


class Forgets(Named):
    """Its second product with a placed matrix is another one."""

    def place(self, A: Any, workers: int) -> Resident:
        class Once(ArrayInMemory):
            calls = 0

            def matvec(self, x: Any, out: Any, *, exact: bool = False) -> None:
                multiply(self.A, x, out)
                self.calls += 1
                if self.calls > 1:
                    out *= np.ones(1, out.dtype)[0] * 0

        return Once(A)


class WrongAdjoint(Named):
    def place(self, A: Any, workers: int) -> Resident:
        class Transposed(ArrayInMemory):
            def vecmat(self, x: Any, out: Any, *, exact: bool = False) -> None:
                multiply(self.A.T, x, out)

        return Transposed(A)


class LosesAddends(Named):
    def sum_states(self, a: Any, kept: int, workers: int) -> Any:
        if a.ndim > kept and a.shape[-1] > workers > 1:
            a = a[..., : a.shape[-1] // workers * workers]
        return super().sum_states(a, kept, workers)


class SumsNaively(Named):
    def sum_states(self, a: Any, kept: int, workers: int) -> Any:
        if a.dtype.kind == "f":
            with np.errstate(all="ignore"):
                a = a.astype(np.float64).sum(axis=tuple(range(kept, a.ndim)), keepdims=True)
        return super().sum_states(a, kept, workers)


class NotNormalised(Named):
    def sum_states(self, a: Any, kept: int, workers: int) -> Any:
        states = super().sum_states(a, kept, workers)
        if states.shape[-1] > 1:
            states[..., 10] += 2**40
            states[..., 11] -= 2**8
        return states


class LosesInfinities(Named):
    def sum_states(self, a: Any, kept: int, workers: int) -> Any:
        states = super().sum_states(a, kept, workers)
        if states.shape[-1] > 1:
            states[..., -2:] = 0
        return states


class NotExactly(Named):
    exact_products = True


class Picky(Named):
    """Not broken: refuses what it cannot do."""

    def refuses(self, plan: Any) -> str | None:
        return "device 'X' has no float64" if plan.dtype == np.float64 else None


class AnotherOrder(Named):
    def submit(self, function: Any, /, *args: Any) -> Any:
        future: Future[Any] = Future()
        if len(args) == 1 and args[0] == 3:
            future.set_result(None)
            return future
        return super().submit(function, *args)


class NoFuture(Named):
    def submit(self, function: Any, /, *args: Any) -> Any:
        return function(*args)


class StaysClosed(Named):
    closed = False

    def close(self) -> None:
        self.closed = True

    def matvec(self, A: Any, x: Any, out: Any, workers: int, *, exact: bool = False) -> None:
        if not self.closed:
            multiply(A, x, out)


BROKEN = [kind for kind in Named.__subclasses__() if kind is not Picky]


def test_the_kit_passes_what_is_not_broken() -> None:
    check_backend(Named(), max_examples=10)


@pytest.fixture
def unshrunk() -> Iterator[None]:
    """Whether the kit finds a mistake is the question, not how small an example there is of it."""
    usual = settings.get_current_profile_name()
    settings.register_profile("unshrunk", settings(), phases=[Phase.generate])
    settings.load_profile("unshrunk")
    yield
    settings.load_profile(usual)


@pytest.mark.usefixtures("unshrunk")
@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_the_kit_catches(kind: type[Backend]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  which kind depends on what is broken
        check_backend(kind(), workers=(3,), max_examples=30)
    errors = caught.value.exceptions if hasattr(caught.value, "exceptions") else [caught.value]
    assert any(isinstance(error, AssertionError) for error in errors), caught.value


def test_a_backend_may_refuse_calls() -> None:
    check_backend(Picky(), workers=(2,), max_examples=15)


# The assertions themselves


def test_require_takes_true_only() -> None:
    require(True, "")
    require(np.True_, "")  # type: ignore[arg-type]
    for value in (False, None, 1, [1], "yes", np.False_, np.array([True])):
        with pytest.raises(AssertionError, match="^the reason$"):
            require(value, "the reason")  # type: ignore[arg-type]


def test_must_raise() -> None:
    with must_raise(ValueError, "one", "two"):
        raise ValueError("one and two")
    with pytest.raises(AssertionError, match="ValueError was not raised"), must_raise(ValueError):
        pass
    with pytest.raises(AssertionError, match=r"does not say \['two'\]"), must_raise(ValueError, "one", "two"):
        raise ValueError("one")
    with pytest.raises(TypeError), must_raise(ValueError):
        raise TypeError


def test_unchanged() -> None:
    a = np.zeros(3)
    with unchanged(a, a[::-1]):
        a[:] = 0
    with pytest.raises(AssertionError, match="operand 1 was modified"), unchanged(np.ones(1), a):
        a[1] = -0.0


def test_require_same_bits() -> None:
    require_same_bits(np.float64(1), np.array(1.0))
    with pytest.raises(AssertionError, match=r"here: got float64 \(\) 0.0, expected float64 \(\) -0.0"):
        require_same_bits(0.0, -0.0, "here")


def test_check_backend_says_what_it_cannot_run() -> None:
    with pytest.raises(BackendUnavailable, match="backend 'toy-absent' cannot run here"):
        check_backend("toy-absent")
    with pytest.raises(ValueError, match="unknown backend 'numby'"):
        check_backend("numby")


def test_the_kit_without_hypothesis() -> None:
    program = "import sys; sys.modules['hypothesis'] = None; import parlinalg.testing"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.endswith(
        'parlinalg.testing needs the package hypothesis. Install it, for example: pip install "parlinalg[test]"\n'
    )


def test_the_kit_works_without_assert_statements() -> None:
    """Under ``python -O`` there are none."""
    program = """
from parlinalg.backends import NumPy
from parlinalg.testing import check_backend
class Wrong(NumPy):
    def matvec(self, A, x, out, workers): out[...] = 1
try: check_backend(Wrong(), max_examples=20)
except Exception as error: print("caught" if "AssertionError" in repr(error) else error)
"""
    command = [sys.executable, "-O", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.endswith("caught\n"), done.stderr
