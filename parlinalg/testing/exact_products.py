"""Exact products: every element rounded once, so the same bits however they were computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..api import matvec, vecdot, vecmat
from ..placing import operator
from ..plan import plan_matvec
from . import strategies as draw
from .base import Base, poisoned, statement
from .checks import must_raise, require_same_bits
from .oracle import exact_matvec

__all__ = ["ExactProductTests"]

DTYPES = tuple(dtype for dtype in draw.SUM_DTYPES if dtype.kind in "fc")
REAL_DTYPES = tuple(dtype for dtype in DTYPES if dtype.kind == "f")
Array = draw.Array


class ExactProductTests(Base):
    """Products with ``exact=True`` of a backend that does not refuse them."""

    def check_exactly(self, call: Callable[..., Any], operands: tuple[Array, Array], expected: Any) -> None:
        """``call(*operands, exact=True, ...)`` gives these bits for each number of workers."""
        plan = plan_matvec((1, 1), operands[0].dtype, (1,), operands[1].dtype, exact=True)
        for workers in self.counts():
            with self.computed(plan):
                result = call(*operands, exact=True, backend=self.backend, workers=workers)
                require_same_bits(result, expected, f"{call.__name__}, {workers} workers")

    @statement(p=draw.products(DTYPES, draw.SUM_VALUES))
    def test_exact_products_are_rounded_once(self, p: draw.Product) -> None:
        if np.result_type(p.A, p.x).char in "gG":
            with must_raise(TypeError, "exact=True is not possible in"):
                matvec(p.A, p.x, exact=True, backend=self.backend)
            return
        expected = exact_matvec(p.A, p.x).rounded()
        conjugate = p.x.conj() if p.x.dtype.kind == "c" else p.x
        self.check_exactly(matvec, (p.A, p.x), expected)
        self.check_exactly(vecmat, (conjugate, p.A.mT), expected)
        rows, vector = p.A, conjugate[..., np.newaxis, :]
        self.check_exactly(vecdot, (vector, rows), expected[()])

    @statement(p=draw.products(DTYPES, draw.SUM_VALUES, batches=False))
    def test_exact_operators_are_rounded_once(self, p: draw.Product) -> None:
        plan = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype)
        if plan.dtype.char in "gG":
            return
        exact = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype, exact=True)
        expected = exact_matvec(p.A, p.x).rounded()
        for workers in self.counts():
            with self.computed(exact), operator(p.A, backend=self.backend, workers=workers, exact=True) as op:
                require_same_bits(op.matvec(p.x), expected, "matvec")
                require_same_bits((op @ np.stack([p.x, p.x], axis=1))[:, 1], expected, "matmat")
            with self.computed(exact), operator(p.A.T, backend=self.backend, workers=workers, exact=True) as op:
                require_same_bits(op.T.matvec(p.x), expected, "T")
                require_same_bits(p.x @ op, expected, "vector @ operator")

    @statement(p=draw.products(REAL_DTYPES, (draw.special,)))
    def test_exact_products_of_infinities_and_nan(self, p: draw.Product) -> None:
        dtype = np.result_type(p.A, p.x)
        if dtype.char not in "efd":
            return
        with np.errstate(all="ignore"):
            # Small integers besides, so that these sums are exact; any NaN becomes the quiet one.
            terms = p.A.astype(np.float64) * p.x.astype(np.float64)[..., np.newaxis, :]
            sums = np.where(np.isnan(terms.sum(axis=-1)), np.nan, terms.sum(axis=-1) + 0.0).astype(dtype)
        self.check_exactly(matvec, (p.A, p.x), np.where(np.isnan(sums), np.array(np.nan, dtype), sums))

    def test_exact_products_report_overflow_and_invalid(self) -> None:
        for dtype in REAL_DTYPES:
            largest = np.finfo(dtype).max
            for row, word in (([largest, largest], "overflow"), ([np.inf, -np.inf], "invalid value")):
                A = np.array([row, [1, 1]], dtype)
                plan = plan_matvec(A.shape, dtype, (2,), dtype, exact=True)
                if self.instance().refusal(plan) is None:
                    with must_raise(FloatingPointError, word), np.errstate(all="raise"):
                        matvec(A, np.ones(2, dtype), exact=True, backend=self.backend)

    def test_exact_products_neither_overflow_nor_underflow_on_the_way(self) -> None:
        x, y = np.array([1e200, 1e200, 1e-200, 1.0]), np.array([1e200, -1e200, 1e-200, 5e-324])
        self.check_exactly(vecdot, (x, y), np.float64(5e-324))

    @statement(p=draw.products(DTYPES, batches=False))
    def test_exact_products_write_into_out(self, p: draw.Product) -> None:
        plan = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype)
        if plan.dtype.char in "gG":
            return
        out = poisoned((2 * plan.m,), plan.dtype)[::-2]

        def into(A: Array, x: Array, **options: Any) -> Array:
            return matvec(A, x, out, **options).copy()

        self.check_exactly(into, (p.A, p.x), exact_matvec(p.A, p.x).rounded())
