"""matvec: NumPy's rules, and errors within the bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.random import Generator

from ..api import matvec
from ..plan import plan_matvec
from . import strategies as draw
from .base import Base, poisoned, statement, writable
from .checks import must_raise, require, require_close, require_same_bits
from .oracle import exact_matvec

__all__ = ["ProductTests"]

REAL_PRODUCTS = tuple(dtype for dtype in draw.PRODUCT_DTYPES if dtype.kind == "f")


class ProductTests(Base):
    """Products are right, whatever the operands."""

    @statement(p=draw.products(draw.INEXACT_DTYPES))
    def test_matvec_is_within_the_bound(self, p: draw.Product) -> None:
        self.check_products(p.A, p.x, exact_matvec(p.A, p.x))

    @statement(p=draw.products(draw.INTEGER_DTYPES))
    def test_matvec_of_integers_and_bool_is_exact(self, p: draw.Product) -> None:
        self.check_products(p.A, p.x, exact_matvec(p.A, p.x))

    def test_matvec_beyond_the_blocks_of_kernels(self) -> None:
        for m, n in ((8209, 3), (3, 8209), (130, 130)):
            ones = (np.arange(m)[:, np.newaxis] + 3 * np.arange(n)) % 97 == 0
            counted = ones.sum(axis=1)  # below 97, so exact in every dtype
            for dtype in draw.PRODUCT_DTYPES:
                for layout in ("C", "Fortran", "sliced", "flipped"):
                    A, x = draw.lay_out(ones.astype(dtype), layout), np.ones(n, dtype)
                    for workers, y in self.products(A, x).items():
                        context = f"{workers} workers, {layout}, {(m, n)}"
                        require_same_bits(y, counted.astype(dtype), context)

    @statement(p=draw.products())
    def test_matvec_has_the_shape_and_dtype_of_numpy(self, p: draw.Product) -> None:
        with np.errstate(all="ignore"):
            expected = np.matvec(p.A, p.x)
        for y in self.products(p.A, p.x).values():
            require((y.shape, y.dtype) == (expected.shape, expected.dtype), f"{y.shape} {y.dtype}")

    @statement(p=draw.products(REAL_PRODUCTS, (draw.special,)))
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
            out = writable(draw.lay_out(poisoned(plan.shape, plan.dtype), layout))
            with self.computed(plan):
                result = matvec(p.A, p.x, out, backend=self.backend, workers=workers)
                require(result is out, "out is not what is returned")
                require_close(out.astype(plan.dtype), exact, f"{workers} workers, {layout} out")

    @statement(p=draw.products(draw.INTEGER_DTYPES), dtype=st.sampled_from(draw.PRODUCT_DTYPES))
    def test_matvec_casts_to_out_as_numpy(self, p: draw.Product, dtype: np.dtype[Any]) -> None:
        plan = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype)
        for workers, y in self.products(p.A, p.x).items():
            out = poisoned(plan.shape, dtype)
            if np.can_cast(plan.dtype, dtype, "same_kind"):
                with np.errstate(all="ignore"):
                    matvec(p.A, p.x, out=out, backend=self.backend, workers=workers)
                    require_same_bits(out, y.astype(dtype))
            else:
                with must_raise(TypeError, "out has dtype", "same_kind"):
                    matvec(p.A, p.x, out=out, backend=self.backend, workers=workers)

    @statement(n=st.integers(1, 30), seed=draw.seeds(), dtype=st.sampled_from(draw.PRODUCT_DTYPES))
    def test_matvec_may_overwrite_its_operands(self, n: int, seed: Generator, dtype: np.dtype[Any]) -> None:
        A = draw.fill(seed, (n, n), dtype, draw.small_integers)
        x = draw.fill(seed, (n,), dtype, draw.small_integers)
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
