"""What the tests of the kit are written with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ..api import matvec
from ..backends._base import Backend
from ..errors import BackendUnavailable
from ..plan import MatvecPlan, SumPlan, plan_matvec, plan_sum
from ..registry import default_instance
from ..sums import psum
from . import strategies as draw
from .checks import must_raise, require, require_close, require_same_bits, unchanged
from .oracle import ExactProduct

__all__ = ["ALLOWED", "Base", "poisoned", "statement", "writable"]

Array = NDArray[Any]
Test = Callable[..., None]

# Drawing arrays and exact arithmetic take the time; one suite is run by several classes on purpose.
ALLOWED = (HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.data_too_large)


def statement(**arguments: st.SearchStrategy[Any]) -> Callable[[Test], Test]:
    """A test that must hold for whatever the strategies draw."""

    def decorate(test: Test) -> Test:
        decorated: Test = settings(deadline=None, suppress_health_check=ALLOWED)(given(**arguments)(test))
        vars(decorated)["arguments"] = arguments
        return decorated

    return decorate


class Base:
    """One backend, called with each number of workers; see `BackendSuite`."""

    backend: ClassVar[str | Backend]
    workers: ClassVar[Sequence[int]] = (1, 2, 3, 5)

    def instance(self) -> Backend:
        return default_instance(self.backend) if isinstance(self.backend, str) else self.backend

    def counts(self) -> list[int]:
        capacity = self.instance().capacity
        return [count for count in self.workers if capacity is None or count <= capacity] or [1]

    def dtype(self) -> np.dtype[Any]:
        """One that it does not refuse, for tests to which it does not matter."""
        for dtype in map(np.dtype, (np.float64, np.float32, np.int64, np.int32, np.int8)):
            plans = plan_matvec((9, 9), dtype, (9,), dtype), plan_sum((9, 9), dtype)
            if all(self.instance().refusal(plan) is None for plan in plans):
                return dtype
        raise AssertionError(f"backend {self.instance().name!r} refuses every dtype")

    @contextmanager
    def computed(self, plan: MatvecPlan | SumPlan) -> Iterator[None]:
        """Around a call: its refusal is expected if there is one, and NumPy's warnings are not the point."""
        reason = self.instance().refusal(plan)
        with np.errstate(all="ignore"):
            if reason is None:
                yield
            else:
                with must_raise(BackendUnavailable, reason):
                    yield

    def products(self, A: Array, x: Array, **options: Any) -> dict[int, Array]:
        """``A @ x`` for each number of workers; empty where the backend refuses it."""
        plan = plan_matvec(A.shape, A.dtype, x.shape, x.dtype, options.get("dtype"))
        found = {}
        for workers in self.counts():
            with self.computed(plan), unchanged(A, x):
                found[workers] = matvec(A, x, backend=self.backend, workers=workers, **options)
        return found

    def sums(self, a: Array, axis: Any = None, **options: Any) -> dict[int, Any]:
        """``psum(a, axis)`` for each number of workers; empty where the backend refuses it."""
        plan = plan_sum(a.shape, a.dtype, axis, options.get("dtype"))
        found = {}
        for workers in self.counts():
            with self.computed(plan), unchanged(a):
                found[workers] = psum(a, axis, backend=self.backend, workers=workers, **options)
        return found

    def check_products(self, A: Array, x: Array, exact: ExactProduct, **options: Any) -> None:
        for workers, y in self.products(A, x, **options).items():
            require(type(y) is np.ndarray, f"the result is a {type(y).__name__}")
            require_close(y, exact, f"{workers} workers")

    def check_sums(self, expected: Any, a: Array, axis: Any = None, **options: Any) -> None:
        for workers, total in self.sums(a, axis, **options).items():
            require_same_bits(total, expected, f"{workers} workers")


def poisoned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An output full of NaN, or of large numbers, which must not get into the result."""
    return draw.garbage(shape, dtype)


def writable(a: Array) -> Array:
    a.flags.writeable = True
    return a
