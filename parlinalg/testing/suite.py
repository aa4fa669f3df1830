"""What every backend must do, as tests that a backend inherits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from ..api import explain, matvec, psum
from ..backends._base import Backend
from ..errors import BackendUnavailable, ClosedError
from ..exact import digits, round_states
from ..operators import operator
from ..plan import MatvecPlan, SumPlan, plan_matvec, plan_sum
from ..registry import default_instance
from . import strategies as draw
from .checks import must_raise, require, require_close, require_same_bits, unchanged
from .oracle import ExactProduct, exact_matvec, exact_sum

__all__ = ["BackendSuite", "check_backend"]

Array = NDArray[Any]
Test = Callable[..., None]

# Drawing arrays and exact arithmetic take the time; one suite is run by several classes on purpose.
ALLOWED = (HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.data_too_large)
FLOAT_SUMS = tuple(dtype for dtype in draw.SUM_DTYPES if dtype.kind == "f")
REAL_SUMS = tuple(dtype for dtype in draw.SUM_DTYPES if dtype.kind != "c")
REAL_PRODUCTS = tuple(dtype for dtype in draw.PRODUCT_DTYPES if dtype.kind == "f")


def statement(**arguments: st.SearchStrategy[Any]) -> Callable[[Test], Test]:
    """A test that must hold for whatever the strategies draw."""

    def decorate(test: Test) -> Test:
        decorated: Any = settings(deadline=None, suppress_health_check=ALLOWED)(given(**arguments)(test))
        decorated.arguments = arguments
        return decorated

    return decorate


class BackendSuite:
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

    backend: ClassVar[str | Backend]
    workers: ClassVar[Sequence[int]] = (1, 2, 3, 5)

    # What the tests are written with.

    def instance(self) -> Backend:
        return default_instance(self.backend) if isinstance(self.backend, str) else self.backend

    def counts(self) -> list[int]:
        capacity = self.instance().capacity
        return [count for count in self.workers if capacity is None or count <= capacity] or [1]

    @contextmanager
    def computed(self, plan: MatvecPlan | SumPlan) -> Iterator[None]:
        """Around a call: its refusal is expected if there is one, and NumPy's warnings are not the point."""
        reason = self.instance().refuses(plan)
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

    # matvec

    @statement(p=draw.products(draw.INEXACT_DTYPES))
    def test_matvec_is_within_the_bound(self, p: draw.Product) -> None:
        self.check_products(p.A, p.x, exact_matvec(p.A, p.x))

    @statement(p=draw.products(draw.INTEGER_DTYPES))
    def test_matvec_of_integers_and_bool_is_exact(self, p: draw.Product) -> None:
        self.check_products(p.A, p.x, exact_matvec(p.A, p.x))

    @statement(p=draw.products())
    def test_matvec_has_the_shape_and_dtype_of_numpy(self, p: draw.Product) -> None:
        with np.errstate(all="ignore"):
            expected = np.matvec(p.A, p.x)
        for y in self.products(p.A, p.x).values():
            require((y.shape, y.dtype) == (expected.shape, expected.dtype), f"{y.shape} {y.dtype}")

    @statement(p=draw.products(REAL_PRODUCTS, (draw._special,)))
    def test_matvec_of_infinities_and_nan(self, p: draw.Product) -> None:
        with np.errstate(all="ignore"):
            terms = p.A * p.x[..., np.newaxis, :]
        if np.iscomplexobj(terms):
            return  # BLAS multiplies a complex result by 1 + 0j, which makes a NaN of an infinity
        nan, up, down = (one.any(axis=-1) for one in (np.isnan(terms), terms == np.inf, terms == -np.inf))
        nan |= up & down
        for y in self.products(p.A, p.x).values():
            require(np.array_equal(np.isnan(y), nan), f"NaN at the wrong places: {y}")
            require(np.array_equal(y == np.inf, up & ~nan), f"inf at the wrong places: {y}")
            require(np.array_equal(y == -np.inf, down & ~nan), f"-inf at the wrong places: {y}")

    @statement(p=draw.products(), dtype=st.sampled_from(draw.PRODUCT_DTYPES))
    def test_matvec_computes_in_the_dtype_asked_for(self, p: draw.Product, dtype: np.dtype[Any]) -> None:
        if not all(np.can_cast(one.dtype, dtype, "same_kind") for one in (p.A, p.x)):
            with must_raise(TypeError, "same_kind"):
                matvec(p.A, p.x, dtype=dtype, backend=self.backend)
            return
        with np.errstate(all="ignore"):
            finite = np.isfinite(p.A.astype(dtype)).all() and np.isfinite(p.x.astype(dtype)).all()
        if finite:
            self.check_products(p.A, p.x, exact_matvec(p.A, p.x, dtype), dtype=dtype)

    @statement(p=draw.products(), layout=st.sampled_from(sorted(draw.LAYOUTS)))
    def test_matvec_writes_into_any_out(self, p: draw.Product, layout: str) -> None:
        plan = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype)
        exact = exact_matvec(p.A, p.x)
        for workers in self.counts():
            out = _writable(draw.lay_out(_poisoned(plan.shape, plan.dtype), layout))
            with self.computed(plan):
                result = matvec(p.A, p.x, out, backend=self.backend, workers=workers)
                require(result is out, "out is not what is returned")
                require_close(out.astype(plan.dtype), exact, f"{workers} workers, {layout} out")

    @statement(p=draw.products(draw.INTEGER_DTYPES), dtype=st.sampled_from(draw.PRODUCT_DTYPES))
    def test_matvec_casts_to_out_as_numpy(self, p: draw.Product, dtype: np.dtype[Any]) -> None:
        plan = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype)
        for workers, y in self.products(p.A, p.x).items():
            out = _poisoned(plan.shape, dtype)
            if np.can_cast(plan.dtype, dtype, "same_kind"):
                with np.errstate(all="ignore"):
                    matvec(p.A, p.x, out=out, backend=self.backend, workers=workers)
                    require_same_bits(out, y.astype(dtype))
            else:
                with must_raise(TypeError, "out has dtype", "same_kind"):
                    matvec(p.A, p.x, out=out, backend=self.backend, workers=workers)

    @statement(n=st.integers(1, 30), seed=draw.seeds(), dtype=st.sampled_from(draw.PRODUCT_DTYPES))
    def test_matvec_may_overwrite_its_operands(self, n: int, seed: Generator, dtype: np.dtype[Any]) -> None:
        A = draw._fill(seed, (n, n), dtype, draw._small_integers)
        x = draw._fill(seed, (n,), dtype, draw._small_integers)
        for workers, expected in self.products(A, x).items():
            over_x, over_A = x.copy(), A.copy()
            matvec(A, over_x, out=over_x, backend=self.backend, workers=workers)
            require_same_bits(over_x, expected, "out is x")
            matvec(over_A, x, out=over_A[:, n // 2], backend=self.backend, workers=workers)
            require_same_bits(over_A[:, n // 2], expected, "out is a column of A")

    @statement(p=draw.products())
    def test_matvec_twice_gives_the_same(self, p: draw.Product) -> None:
        for workers, y in self.products(p.A, p.x).items():
            first = y.copy()
            with np.errstate(all="ignore"):
                again = matvec(p.A, p.x, out=y, backend=self.backend, workers=workers)
            require_same_bits(again, first, f"{workers} workers, called twice with the same out")

    # psum

    @statement(s=draw.sums())
    def test_psum_is_the_rounded_sum(self, s: draw.Sum) -> None:
        exact = exact_sum(s.a, s.axis, keepdims=s.keepdims)
        self.check_sums(exact.value, s.a, s.axis, keepdims=s.keepdims)

    @statement(s=draw.sums(values=(draw._special,)))
    def test_psum_of_infinities_and_nan(self, s: draw.Sum) -> None:
        self.check_sums(exact_sum(s.a, s.axis, keepdims=s.keepdims).value, s.a, s.axis, keepdims=s.keepdims)

    @statement(s=draw.sums(), dtype=st.sampled_from(draw.SUM_DTYPES), seed=draw.seeds(), initial=st.integers(-3, 3))
    def test_psum_with_dtype_initial_and_where(
        self, s: draw.Sum, dtype: np.dtype[Any], seed: Generator, initial: int
    ) -> None:
        if s.a.dtype.kind == "f" and dtype.kind in "biu":
            dtype = s.a.dtype  # a float beyond the integers casts to whatever the processor says
        elif s.a.dtype.kind == "c" and dtype.kind != "c":
            dtype = s.a.dtype
        dtype = dtype.newbyteorder("=")
        where = seed.random(s.a.shape[seed.integers(0, s.a.ndim + 1) :]) < 0.7
        with np.errstate(all="ignore"):
            first = np.array(initial).astype(dtype)[()]
        options: dict[str, Any] = {"dtype": dtype, "initial": first, "where": where}
        self.check_sums(exact_sum(s.a, s.axis, **options).value, s.a, s.axis, **options)

    @statement(s=draw.sums())
    def test_psum_returns_what_numpy_returns(self, s: draw.Sum) -> None:
        with np.errstate(all="ignore"):
            expected = np.sum(s.a, axis=s.axis, keepdims=s.keepdims)
        for total in self.sums(s.a, s.axis, keepdims=s.keepdims).values():
            require(type(total) is type(expected), f"{type(total)} instead of {type(expected)}")
            require((total.shape, total.dtype) == (expected.shape, expected.dtype), f"{total.shape} {total.dtype}")

    @statement(s=draw.sums(FLOAT_SUMS), dtype=st.sampled_from(FLOAT_SUMS), layout=st.sampled_from(sorted(draw.LAYOUTS)))
    def test_psum_rounds_once_to_the_dtype_of_out(self, s: draw.Sum, dtype: np.dtype[Any], layout: str) -> None:
        expected = exact_sum(s.a, s.axis, keepdims=s.keepdims, rounded_to=dtype).value
        for workers in self.counts():
            out = _writable(draw.lay_out(_poisoned(expected.shape, dtype), layout))
            with self.computed(plan_sum(s.a.shape, s.a.dtype, s.axis)):
                require(
                    psum(s.a, s.axis, out=out, keepdims=s.keepdims, backend=self.backend, workers=workers) is out,
                    "out is not what is returned",
                )
                require_same_bits(out.astype(dtype), expected, f"{workers} workers, {layout} out")

    @statement(s=draw.sums(), seed=draw.seeds())
    def test_no_order_or_layout_changes_a_bit_of_psum(self, s: draw.Sum, seed: Generator) -> None:
        expected = exact_sum(s.a).value
        self.check_sums(expected, seed.permutation(s.a.flatten()))
        for layout in draw.LAYOUTS:
            self.check_sums(expected, draw.lay_out(s.a.copy(), layout))

    @statement(s=draw.sums(REAL_SUMS), parts=st.integers(1, 4))
    def test_no_splitting_changes_a_bit_of_psum(self, s: draw.Sum, parts: int) -> None:
        plan = plan_sum((s.a.size,), s.a.dtype)
        expected = exact_sum(s.a).value
        for workers in self.counts():
            if self.instance().refuses(plan) is None:
                pieces = np.array_split(s.a.ravel(), parts)
                states = [self.instance().sum_states(piece, 0, workers) for piece in pieces]
                with np.errstate(all="ignore"):
                    require_same_bits(round_states(np.add.reduce(states), plan.dtype), expected, f"{parts} parts")

    @statement(s=draw.sums(REAL_SUMS), kept=st.integers(0, 2))
    def test_states_are_normalised_and_the_same_for_all_workers(self, s: draw.Sum, kept: int) -> None:
        kept = min(kept, s.a.ndim)
        seen = []
        for workers in self.counts():
            if self.instance().refuses(plan_sum(s.a.shape, s.a.dtype, tuple(range(kept, s.a.ndim)))) is None:
                seen.append(self.instance().sum_states(s.a, kept, workers))
                shape = (*s.a.shape[:kept], digits(s.a.dtype))
                require((seen[-1].shape, seen[-1].dtype) == (shape, np.int64), f"{seen[-1].shape} {seen[-1].dtype}")
                require_same_bits(seen[-1], seen[0], f"{workers} workers")
        for states in seen[:1]:
            if states.shape[-1] > 1:
                require(bool((np.abs(states[..., :-4]) <= 2**31).all()), "a digit is not in [-2**31, 2**31)")

    def test_psum_reports_overflow_and_invalid_as_numpy(self) -> None:
        for dtype in FLOAT_SUMS:
            largest = np.finfo(dtype).max
            for addends, word in (([largest, largest], "overflow"), ([np.inf, -np.inf], "invalid value")):
                a = np.array(addends, dtype)
                if self.instance().refuses(plan_sum(a.shape, a.dtype)) is None:
                    with must_raise(FloatingPointError, word), np.errstate(all="raise"):
                        psum(a, backend=self.backend)
                    self.check_sums(exact_sum(a).value, a)

    # The matrix that stays

    @statement(p=draw.products(batches=False), seed=draw.seeds(), which=st.integers(0, 3))
    def test_operator_products_are_within_the_bound(self, p: draw.Product, seed: Generator, which: int) -> None:
        plan = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype)
        z = draw._fill(seed, (p.A.shape[0],), p.x.dtype.newbyteorder("="), draw._normal)
        X, Z = (np.stack([one, one[::-1]], axis=1) for one in (p.x, z))
        with np.errstate(all="ignore"):
            forward = [exact_matvec(p.A, one) for one in X.T]
            transposed = [exact_matvec(p.A.T, one) for one in Z.T]
            adjoint = [exact_matvec(p.A.conj().T, one) for one in Z.T]
        workers = self.counts()[which % len(self.counts())]
        with self.computed(plan), operator(p.A, backend=self.backend, workers=workers) as op:
            require_close(op.matvec(p.x), forward[0], "matvec")
            require_close(op.rmatvec(z), adjoint[0], "rmatvec")
            require_close(op.T @ z, transposed[0], "T @")
            require_close(op.T.T.matvec(p.x), forward[0], "T.T")
            require_close(z @ op, transposed[0], "vector @ operator")
            for Y, exact in ((op @ X, forward), (op.rmatmat(Z), adjoint), (op.T @ Z, transposed)):
                require_close(Y[:, 0], exact[0], "matrix, first column")
                require_close(Y[:, 1], exact[1], "matrix, second column")

    @statement(p=draw.products(batches=False))
    def test_operator_gives_the_bits_of_the_one_shot_call(self, p: draw.Product) -> None:
        for workers, y in self.products(p.A, p.x).items():
            with operator(p.A, backend=self.backend, workers=workers) as op, np.errstate(all="ignore"), unchanged(p.A):
                require_same_bits(op.matvec(p.x), y, f"{workers} workers, first product")
                require_same_bits(op.matvec(p.x), y, f"{workers} workers, second product")
                require(op.stats().calls == 2, f"{op.stats().calls} calls counted instead of 2")

    @statement(p=draw.products())
    def test_place_multiply_close_is_what_a_call_means(self, p: draw.Product) -> None:
        plan = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype)
        for workers, y in self.products(p.A, p.x).items():
            out = _poisoned(plan.shape, plan.dtype)
            with self.instance().place(p.A, workers) as resident, np.errstate(all="ignore"):
                resident.matvec(p.x, out)
            require_same_bits(out, y, f"{workers} workers")
            resident.close()

    # What is not arithmetic

    def test_bad_arguments_raise(self) -> None:
        A, x = np.ones((3, 4)), np.ones(4)
        frozen = np.ones(3)
        frozen.flags.writeable = False
        shared = np.lib.stride_tricks.as_strided(np.ones(1), (3,), (0,))
        calls: list[tuple[type[Exception], str, Callable[[], object]]] = [
            (ValueError, "x has shape (3,)", lambda: matvec(A, np.ones(3), backend=self.backend)),
            (ValueError, "A has shape (4,)", lambda: matvec(x, x, backend=self.backend)),
            (TypeError, "A has dtype object", lambda: matvec(A.astype(object), x, backend=self.backend)),
            (ValueError, "out has shape (4,)", lambda: matvec(A, x, np.ones(4), backend=self.backend)),
            (TypeError, "out has dtype int64", lambda: matvec(A, x, np.ones(3, np.int64), backend=self.backend)),
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
                matvec(np.ones((2, 2)), np.ones(2), backend=self.backend, workers=capacity + 1)

    def test_explain_names_the_backend(self) -> None:
        for workers in self.counts():
            choice = explain(np.ones((9, 9)), np.ones(9), backend=self.backend, workers=workers)
            require((choice.backend, choice.workers) == (self.instance(), workers), f"explained as {choice}")

    def test_a_closed_operator_raises(self) -> None:
        op = operator(np.eye(3), backend=self.backend)
        view = op.T
        op.close()
        op.close()
        for one in (op, view):
            with must_raise(ClosedError, "closed"):
                one.matvec(np.ones(3))

    def test_closing_twice_and_calling_again(self) -> None:
        A, x = np.arange(35.0).reshape(7, 5), np.arange(5.0)
        for _ in range(2):
            self.instance().close()
            self.instance().close()
            self.check_products(A, x, exact_matvec(A, x))

    def test_submit_returns_futures_and_keeps_the_order(self) -> None:
        order: list[int] = []
        futures = [self.instance().submit(order.append, number) for number in range(20)]
        require(all(isinstance(one, Future) for one in futures), "submit does not return a Future")
        failing = self.instance().submit(divmod, 1, 0)
        y = self.instance().submit(lambda: matvec([[2.0]], [3.0], backend=self.backend)).result(timeout=60)
        require(order == list(range(20)), f"called in the order {order}")
        require_same_bits(y, np.array([6.0]))
        with must_raise(ZeroDivisionError):
            failing.result(timeout=60)

    def test_several_threads_may_call_at_once(self) -> None:
        rng = np.random.default_rng(1)
        A, x = rng.standard_normal((61, 47)), rng.standard_normal(47)
        workers = self.counts()[-1]
        expected, total = self.products(A, x)[workers], exact_sum(A).value
        start = threading.Barrier(4)

        def calls() -> list[tuple[Array, Any]]:
            start.wait(timeout=60)
            options: dict[str, Any] = {"backend": self.backend, "workers": workers}
            return [(matvec(A, x, **options), psum(A, **options)) for _ in range(5)]

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(calls) for _ in range(4)]:
                for y, summed in future.result(timeout=120):
                    require_same_bits(y, expected)
                    require_same_bits(summed, total)


def _poisoned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An output full of NaN, or of large numbers, which must not get into the result."""
    return draw._garbage(shape, dtype)


def _writable(a: Array) -> Array:
    a.flags.writeable = True
    return a


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
    for name, test in vars(BackendSuite).items():
        if name.startswith("test_"):
            if hasattr(test, "arguments"):
                test = options(given(**test.arguments)(test.hypothesis.inner_test))
            test(suite)
