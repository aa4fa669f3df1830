"""What every backend must do, as tests that a backend inherits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from hypothesis import given, settings

from ..api import matvec
from ..backends._base import Backend
from ..errors import ClosedError
from ..explaining import explain
from ..placing import operator
from ..sums import psum
from .base import ALLOWED, Array
from .checks import must_raise, require, require_same_bits
from .exact_products import ExactProductTests
from .oracle import exact_matvec, exact_sum
from .products import ProductTests
from .residents import ResidentTests
from .sums import SumTests

__all__ = ["BackendSuite", "check_backend"]


class BackendSuite(ProductTests, ExactProductTests, SumTests, ResidentTests):
    """Tests for one backend; pytest collects a subclass whose name begins with Test.

    Attributes
    ----------
    backend : str or Backend
        Name or instance.
    workers : sequence of int
        Each statement is tested with each of these numbers, as far as the capacity of the backend allows.

    Notes
    -----
    Nothing may be overridden to be left out. A call that the method `refuses` of the backend refuses must raise
    `BackendUnavailable` with the same sentence.

    Examples
    --------
    >>> from parlinalg.testing import BackendSuite
    >>> class TestMine(BackendSuite):
    ...     backend = "numpy"
    """

    def test_bad_arguments_raise(self) -> None:
        dtype = self.dtype()
        A, x, y = np.ones((3, 4), dtype), np.ones(4, dtype), np.ones(3, dtype)
        frozen = y.copy()
        frozen.flags.writeable = False
        shared = np.lib.stride_tricks.as_strided(y, (3,), (0,))
        calls: list[tuple[type[Exception], str, Callable[[], object]]] = [
            (ValueError, "x has shape (3,)", lambda: matvec(A, y, backend=self.backend)),
            (ValueError, "A has shape (4,)", lambda: matvec(x, x, backend=self.backend)),
            (TypeError, "A has dtype object", lambda: matvec(A.astype(object), x, backend=self.backend)),
            (ValueError, "out has shape (4,)", lambda: matvec(A, x, x.copy(), backend=self.backend)),
            (TypeError, "out has dtype bool", lambda: matvec(A, x, y.astype(bool), backend=self.backend)),
            (ValueError, "out is read-only", lambda: matvec(A, x, frozen, backend=self.backend)),
            (ValueError, "out has strides", lambda: matvec(A, x, shared, backend=self.backend)),
            (ValueError, "workers", lambda: matvec(A, x, backend=self.backend, workers=0)),
            (TypeError, "a is", lambda: psum(np.ones(3, np.longdouble), backend=self.backend)),
            (ValueError, "axis", lambda: psum(A, axis=2, backend=self.backend)),
            (ValueError, "workers", lambda: psum(A, backend=self.backend, workers=0)),
        ]
        for kind, words, call in calls:
            with must_raise(kind, words):
                call()

    def test_more_workers_than_its_capacity_is_an_error(self) -> None:
        capacity = self.instance().capacity
        if capacity is not None:
            with must_raise(ValueError, "workers", str(capacity)):
                psum(np.ones(2, self.dtype()), backend=self.backend, workers=capacity + 1)

    def test_explain_names_the_backend(self) -> None:
        for workers in self.counts():
            A = np.ones((9, 9), self.dtype())
            choice = explain(A, A[0], backend=self.backend, workers=workers)
            require((choice.backend, choice.workers) == (self.instance(), workers), f"explained as {choice}")

    def test_a_closed_operator_raises(self) -> None:
        op = operator(np.eye(3, dtype=self.dtype()), backend=self.backend)
        view = op.T
        op.close()
        op.close()
        for one in (op, view):
            with must_raise(ClosedError, "closed"):
                one.matvec(np.ones(3, self.dtype()))

    def test_closing_twice_and_calling_again(self) -> None:
        A, x = np.arange(35, dtype=self.dtype()).reshape(7, 5), np.ones(5, self.dtype())
        for _ in range(2):
            self.instance().close()
            self.instance().close()
            self.check_products(A, x, exact_matvec(A, x))

    def test_submit_returns_futures_and_keeps_the_order(self) -> None:
        order: list[int] = []
        futures = [self.instance().submit(order.append, number) for number in range(20)]
        require(all(isinstance(one, Future) for one in futures), "submit does not return a Future")
        failing = self.instance().submit(divmod, 1, 0)
        A = np.full((1, 1), 2, self.dtype())
        y = self.instance().submit(lambda: matvec(A, A[0], backend=self.backend)).result(timeout=60)
        require(order == list(range(20)), f"called in the order {order}")
        require_same_bits(y, A[0] * 2)
        with must_raise(ZeroDivisionError):
            failing.result(timeout=60)

    def test_several_threads_may_call_at_once(self) -> None:
        rng = np.random.default_rng(1)
        A = (99 * rng.standard_normal((61, 47))).astype(self.dtype())
        x = A[0].copy()
        workers = self.counts()[-1]
        expected, total = self.products(A, x)[workers], exact_sum(A).value
        in_order = self.instance().collective and (self.instance().capacity or 1) > 1
        start = threading.Barrier(4)

        def calls() -> list[tuple[Array, Any]]:
            if not in_order:
                start.wait(timeout=60)
            options: dict[str, Any] = {"backend": self.backend, "workers": workers}
            return [(matvec(A, x, **options), psum(A, **options)) for _ in range(5)]

        with ThreadPoolExecutor(4) as pool:
            # Ranks could not tell which thread of the others made a call, so there is one queue for them.
            submit = self.instance().submit if in_order else pool.submit
            for future in [submit(calls) for _ in range(4)]:
                for y, summed in future.result(timeout=120):
                    require_same_bits(y, expected)
                    require_same_bits(summed, total)


def check_backend(backend: str | Backend, workers: Sequence[int] = (1, 2, 3, 5), max_examples: int = 100) -> None:
    """Run `BackendSuite` on a backend.

    Parameters
    ----------
    backend : str or Backend
        Name or instance.
    workers : sequence of int
        Numbers of workers to test with; those beyond the capacity of the backend are left out.
    max_examples : int
        How many examples each property is tested with.

    Raises
    ------
    AssertionError
        At the first test that fails; hypothesis prints the smallest example that it finds.
    BackendUnavailable
        If the backend cannot run here.

    Examples
    --------
    >>> from parlinalg.testing import check_backend
    >>> check_backend("numpy", max_examples=5)
    """
    suite = type("Suite", (BackendSuite,), {"backend": backend, "workers": tuple(workers)})()
    suite.instance()
    options = settings(deadline=None, suppress_health_check=ALLOWED, max_examples=max_examples, database=None)
    tests = [getattr(BackendSuite, name) for name in dir(BackendSuite) if name.startswith("test_")]
    for test in sorted(tests, key=lambda test: hasattr(test, "arguments")):  # the quick ones first
        if hasattr(test, "arguments"):
            test = options(given(**test.arguments)(test.hypothesis.inner_test))
        test(suite)
