"""The compiled short cut of small and plain sums gives what the general way gives, and steps aside when it must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from parlinalg import psum, set_backend
from parlinalg.backends import NumPy
from parlinalg.testing.checks import require_same_bits, unchanged
from parlinalg.testing.strategies import SUM_DTYPES, Sum, special, sums

general_sum = psum.__wrapped__  # type: ignore[attr-defined]


@given(s=sums())
def test_the_bits_of_sums_are_those_of_the_general_way(s: Sum) -> None:
    with np.errstate(all="ignore"), unchanged(s.a):
        for axis in (None, *range(-s.a.ndim, s.a.ndim)):
            total, expected = psum(s.a, axis), general_sum(s.a, axis)
            require_same_bits(total, expected, axis)
            assert type(total) is type(expected)


@given(s=sums(values=(special,)))
def test_sums_of_infinities_and_nan_are_those_of_the_general_way(s: Sum) -> None:
    with np.errstate(all="ignore"):
        require_same_bits(psum(s.a), general_sum(s.a))


@pytest.mark.parametrize("dtype", SUM_DTYPES, ids=str)
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("shape", [(3, 4), (0, 3), (3, 0), (1, 1), (40, 17), (300, 200)])
def test_small_plain_sums_take_the_short_cut(
    monkeypatch: pytest.MonkeyPatch, dtype: np.dtype, axis: int | None, shape: tuple[int, int]
) -> None:
    a = np.ones(shape, dtype)
    expected = np.sum(a, axis) if dtype != np.float16 else general_sum(a, axis)
    monkeypatch.setitem(general_sum.__globals__, "engage", None)  # so that the general way would fail
    require_same_bits(psum(a, axis), expected)
    for _ in range(50):  # results are not lost, nor kept
        psum(a, axis)
    require_same_bits(psum(a, axis), expected)


@pytest.mark.parametrize("dtype", SUM_DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(300, 1000), (2100, 2000)])
def test_large_plain_sums_are_those_of_the_general_way(dtype: np.dtype, shape: tuple[int, int]) -> None:
    drawn = 50 * np.random.default_rng(3).standard_normal(shape)
    a = (drawn + 1j * drawn[::-1]).astype(dtype) if dtype.kind == "c" else abs(drawn).astype(dtype)
    with np.errstate(over="ignore"):  # of float16
        for view in (a, a.T, a[::-1], a[:, ::2], a[1:].ravel()):
            total, expected = psum(view), general_sum(view)
            require_same_bits(total, expected)
            assert type(total) is type(expected)
        require_same_bits(psum(a, 1), general_sum(a, 1))
    if dtype.kind in "fc":
        a[3, 3:5] = np.inf, -np.inf
        with pytest.warns(RuntimeWarning, match="invalid value"):
            assert np.isnan(psum(a).real)


def test_sums_that_overflow_or_are_invalid_are_reported() -> None:
    largest = np.finfo(float).max
    for a in ([largest, largest], [np.inf, -np.inf], [1 + largest * 1j, 1 + largest * 1j]):
        with np.errstate(all="raise"), pytest.raises(FloatingPointError):
            psum(np.array(a))
        with np.errstate(all="raise"), pytest.raises(FloatingPointError):
            psum(np.array([a, a]), 1)


@pytest.mark.parametrize("axis", [2, -3, 10**30, -(10**30)])
def test_axes_out_of_range(axis: int) -> None:
    with pytest.raises(np.exceptions.AxisError):
        psum(np.ones((2, 2)), axis)


def test_sums_ask_whom_set_backend_has_chosen() -> None:
    class Counting(NumPy):
        sums = 0

        def write_sums(self, a: Any, kept: int, out: Any, workers: int) -> None:
            self.sums += 1
            super().write_sums(a, kept, out, workers)

    mine = Counting()
    with set_backend(mine):
        psum(np.ones(3))
        psum(np.ones((3, 3)), 0)
    psum(np.ones(3))
    assert mine.sums == 2
