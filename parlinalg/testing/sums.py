"""psum: the bits of the exact sum, in any order and any split."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.random import Generator

from ..exact import digits, round_states
from ..plan import plan_sum
from ..sums import psum
from . import strategies as draw
from .base import Base, poisoned, statement, writable
from .checks import must_raise, require, require_same_bits
from .oracle import exact_sum

__all__ = ["SumTests"]

FLOAT_SUMS = tuple(dtype for dtype in draw.SUM_DTYPES if dtype.kind == "f")
REAL_SUMS = tuple(dtype for dtype in draw.SUM_DTYPES if dtype.kind != "c")


class SumTests(Base):
    """Sums are rounded once, whatever the operands."""

    @statement(s=draw.sums())
    def test_psum_is_the_rounded_sum(self, s: draw.Sum) -> None:
        exact = exact_sum(s.a, s.axis, keepdims=s.keepdims)
        self.check_sums(exact.value, s.a, s.axis, keepdims=s.keepdims)

    @statement(s=draw.sums(values=(draw.special,)))
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
            out = writable(draw.lay_out(poisoned(expected.shape, dtype), layout))
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

    @statement(s=draw.sums(REAL_SUMS), t=draw.sums(REAL_SUMS, (draw.special,)))
    def test_states_stand_for_the_sum(self, s: draw.Sum, t: draw.Sum) -> None:
        for a in (s.a, t.a):
            plan = plan_sum(a.shape, a.dtype)
            for workers in self.counts():
                if self.instance().refusal(plan) is None:
                    states = self.instance().sum_states(a, 0, workers)
                    with np.errstate(all="ignore"):
                        require_same_bits(
                            round_states(states, plan.dtype)[()], exact_sum(a).value, f"{workers} workers"
                        )

    @statement(s=draw.sums(REAL_SUMS), parts=st.integers(1, 4))
    def test_no_splitting_changes_a_bit_of_psum(self, s: draw.Sum, parts: int) -> None:
        plan = plan_sum((s.a.size,), s.a.dtype)
        expected = exact_sum(s.a).value
        for workers in self.counts():
            if self.instance().refusal(plan) is None:
                pieces = np.array_split(s.a.ravel(), parts)
                states = [self.instance().sum_states(piece, 0, workers) for piece in pieces]
                with np.errstate(all="ignore"):
                    require_same_bits(round_states(np.add.reduce(states), plan.dtype), expected, f"{parts} parts")

    @statement(s=draw.sums(REAL_SUMS), kept=st.integers(0, 2))
    def test_states_are_normalised_and_the_same_for_all_workers(self, s: draw.Sum, kept: int) -> None:
        kept = min(kept, s.a.ndim)
        seen = []
        for workers in self.counts():
            if self.instance().refusal(plan_sum(s.a.shape, s.a.dtype, tuple(range(kept, s.a.ndim)))) is None:
                seen.append(self.instance().sum_states(s.a, kept, workers))
                shape = (*s.a.shape[:kept], digits(s.a.dtype))
                require(
                    (seen[-1].shape, seen[-1].dtype) == (shape, np.dtype(np.int64)),
                    f"{seen[-1].shape} {seen[-1].dtype}",
                )
                require_same_bits(seen[-1], seen[0], f"{workers} workers")
        for states in seen[:1]:
            if states.shape[-1] > 1:
                require(bool((np.abs(states[..., :-4]) <= 2**31).all()), "a digit is not in [-2**31, 2**31)")

    def test_psum_reports_overflow_and_invalid_as_numpy(self) -> None:
        for dtype in FLOAT_SUMS:
            largest = np.finfo(dtype).max
            for addends, word in (([largest, largest], "overflow"), ([np.inf, -np.inf], "invalid value")):
                a = np.array(addends, dtype)
                if self.instance().refusal(plan_sum(a.shape, a.dtype)) is None:
                    with must_raise(FloatingPointError, word), np.errstate(all="raise"):
                        psum(a, backend=self.backend)
                    self.check_sums(exact_sum(a).value, a)
