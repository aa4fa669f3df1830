"""The compiled short cut of small and plain sums gives what the general way gives, and steps aside when it must."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlinalg import psum, set_backend
from parlinalg.backends import NumPy
from parlinalg.testing.checks import require_same_bits, unchanged
from parlinalg.testing.strategies import SUM_DTYPES, Sum, special, sums

general_sum = psum.__wrapped__  # type: ignore[attr-defined]

SOME = np.arange(60).reshape(5, 3, 4) % 3 > 0
SAYING_MORE: dict[str, st.SearchStrategy[Any]] = {
    "keepdims": st.booleans(),
    "dtype": st.sampled_from(["f2", "f4", ">f8", float, complex, "c8", "i8", np.uint64, "i4", bool, "g", "U3", "no"]),
    "initial": st.sampled_from([0.0, 3, -(2**53), 2**60, -1, 0.1, 1e300, np.inf, np.nan, True, 1j, "3", np.float32(3)]),
    "backend": st.sampled_from(["openmp", "numpy"]),
    "workers": st.sampled_from([1, 3]),
}


@given(s=sums())
def test_the_bits_of_sums_are_those_of_the_general_way(s: Sum) -> None:
    with np.errstate(all="ignore"), unchanged(s.a):
        for axis in (None, *range(-s.a.ndim, s.a.ndim)):
            total, expected = psum(s.a, axis), general_sum(s.a, axis)
            require_same_bits(total, expected, axis)
            assert type(total) is type(expected)


@given(s=sums(), data=st.data())
def test_so_are_those_of_calls_that_say_more(s: Sum, data: st.DataObject) -> None:
    axes = tuple(data.draw(st.sets(st.integers(0, s.a.ndim - 1)))) if s.a.ndim else None
    options = data.draw(st.fixed_dictionaries({}, optional=SAYING_MORE))
    if data.draw(st.booleans()):
        options["where"] = np.random.default_rng(s.a.size).random(s.a.shape) < 0.5
    with np.errstate(all="ignore"), unchanged(s.a), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = general_sum(s.a, axes, **options)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                psum(s.a, axes, **options)
            return
        total = psum(s.a, axes, **options)
        require_same_bits(total, expected, (axes, options))
        assert type(total) is type(expected)
        for dtype in {expected.dtype, np.dtype(np.float64), np.dtype(np.complex128)}:
            if np.can_cast(expected.dtype, dtype, "same_kind"):
                out, wanted = np.empty(expected.shape, dtype), np.empty(expected.shape, dtype)
                general_sum(s.a, axes, out=wanted, **options)
                assert psum(s.a, axes, out=out, **options) is out
                require_same_bits(out, wanted, (axes, options))


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
    monkeypatch.setitem(general_sum.__wrapped__.__globals__, "engage", None)  # so that the general way would fail
    require_same_bits(psum(a, axis), expected)
    for _ in range(50):  # results are not lost, nor kept
        psum(a, axis)
    require_same_bits(psum(a, axis), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"axis": (0, 2)},
        {"axis": (2, -2, 0), "keepdims": True},
        {"axis": -2, "keepdims": True},
        {"dtype": float},
        {"dtype": "i8", "initial": 7},
        {"initial": 2.5, "dtype": np.float64},
        {"where": SOME, "axis": (1, 2)},
        {"where": SOME, "dtype": float},
    ],
    ids=lambda options: ",".join(options),
)
@pytest.mark.parametrize("dtype", ["?", "i1", ">u4", "i8"])
def test_so_do_small_sums_that_say_more(monkeypatch: pytest.MonkeyPatch, dtype: str, options: dict[str, Any]) -> None:
    a = (np.arange(60).reshape(5, 3, 4) % 7).astype(dtype)
    expected = np.sum(a, **options)
    monkeypatch.setitem(general_sum.__wrapped__.__globals__, "engage", None)
    require_same_bits(psum(a, **options), expected)
    floats = a.astype(">f4")
    if options.get("dtype") != "i8":
        require_same_bits(psum(floats, **options), np.sum(floats, **options))
        out = np.empty(np.shape(expected))
        require_same_bits(psum(floats, out=out, **options), np.sum(floats.astype(float), **options))


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("axis", [None, 0, 2, (0, 2)])
@pytest.mark.parametrize(
    "options", [{}, {"initial": 2.5}, {"initial": 2.5, "keepdims": True}, {"dtype": "c8"}], ids=str
)
def test_so_do_those_of_floats(
    monkeypatch: pytest.MonkeyPatch, dtype: str, axis: int | tuple[int, ...] | None, options: dict[str, Any]
) -> None:
    a = (np.arange(60).reshape(5, 3, 4) % 7).astype(dtype)
    if a.dtype.kind == "f" and "dtype" in options:
        options = {"dtype": "f4"}
    monkeypatch.setitem(general_sum.__wrapped__.__globals__, "engage", None)
    for b in (a, np.asfortranarray(a), a[::-1, :, ::2]):
        require_same_bits(psum(b, axis, **options), np.sum(b, axis, **options))


@pytest.mark.parametrize("dtype", ["?", "u1", "i4", "u8", "i8"])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("initial", [7, -7, 2**53])
def test_sums_of_many_integers_begin_with_a_number(dtype: str, axis: int | None, initial: int) -> None:
    a = np.random.default_rng(0).integers(0, 9, (900, 1000)).astype(dtype)
    a[0] = np.iinfo(dtype if dtype != "?" else "u1").max  # beyond 64 bits: modulo 2^64
    for workers in (1, 2, 3):
        if dtype[0] == "u" and initial < 0:
            continue
        for keepdims in (False, True):
            expected = np.sum(a, axis, keepdims=keepdims, initial=initial)
            require_same_bits(psum(a, axis, keepdims=keepdims, initial=initial, workers=workers), expected)


@pytest.mark.parametrize("dtype", ["?", "i4", "u8", "f2", "f4", "f8", "c8"])
@pytest.mark.parametrize(
    "initial", [0.1, -1, 2**62, 1e300, np.inf, np.nan, True, 1j, "3", np.float32(0.1), None], ids=repr
)
def test_what_a_sum_begins_with_is_that_of_the_general_way(dtype: str, initial: Any) -> None:
    a = np.arange(3).astype(dtype)
    with np.errstate(all="ignore"):
        try:
            expected = general_sum(a, initial=initial)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                psum(a, initial=initial)
        else:
            require_same_bits(psum(a, initial=initial), expected)


@pytest.mark.parametrize("given", ["i4", "u8", "i8", "f8", "c16"])
@pytest.mark.parametrize("dtype", ["f4", "c8", "f8", "c16"])
def test_elements_are_cast_before_they_are_added(given: str, dtype: str) -> None:
    a = np.full((3, 5), 2**24 + 1).astype(given)  # no float32
    if np.can_cast(given, dtype, "same_kind"):
        require_same_bits(psum(a, 0, dtype=dtype), general_sum(a, 0, dtype=dtype))
        require_same_bits(psum(a, 0, dtype=dtype), a.astype(dtype)[0] * 3)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "u4", "i8"])
def test_sums_of_integers_as_floats(dtype: str) -> None:
    info = np.iinfo("u1" if dtype == "?" else dtype)
    a = np.random.default_rng(0).integers(info.min, info.max, (7, 300), endpoint=True).astype(dtype)
    for wanted in ("f4", "f8"):
        for axis in (None, 0, 1):
            require_same_bits(psum(a, axis, dtype=wanted), general_sum(a, axis, dtype=wanted))


def test_more_integers_than_64_bits_hold_are_added_as_floats() -> None:
    largest = np.broadcast_to(np.uint32(2**32 - 1), (2**17, 2**15 + 1))
    assert float(psum(largest, dtype=float)) == float((2**32 - 1) * largest.size)


@pytest.mark.parametrize("dtype", ["i8", "u8", "i4", "u4"])
@pytest.mark.parametrize("wanted", ["f8", "f4"])
@pytest.mark.parametrize("largest", [9, 2**24, 2**24 + 1, 2**46, 2**53, 2**53 + 1, 2**62])
def test_many_wide_integers_as_floats(dtype: str, wanted: str, largest: int) -> None:
    """Those that are too large for these floats are rounded one by one, as in NumPy, and sums may exceed 64 bits."""
    rng = np.random.default_rng(0)
    largest = min(largest, np.iinfo(dtype).max)
    for least in {0, -largest if np.dtype(dtype).kind == "i" else 0}:
        a = rng.integers(least, largest, (300, 301), dtype, endpoint=True)
        a[0], a[1, 0] = largest, largest - 1
        for axis in (None, 0, 1):
            expected = psum(a.astype(wanted), axis)
            require_same_bits(psum(a, axis, dtype=wanted), expected, (least, axis))


@pytest.mark.parametrize("bits", [17, 18, 20])
def test_the_least_sum_that_64_bits_do_not_hold(bits: int) -> None:
    a = np.full(1 << bits, 1 << (63 - bits))
    assert psum(a, dtype=float) == 2.0**63
    assert psum(-a, dtype=float) == -(2.0**63)


@pytest.mark.parametrize("axes", [(0, 0), (0, -2), (1, 2), (), (True,), (0.0,)])
def test_axes_that_are_not_two(axes: tuple[Any, ...]) -> None:
    a = np.ones((2, 3))
    try:
        expected = general_sum(a, axes)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            psum(a, axes)
    else:
        require_same_bits(psum(a, axes), expected)


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
        cube = a.reshape(10, -1, 100)
        for axes in (0, 1, (0, 2), (1, 2), (0, 1, 2)):
            for options in ({}, {"keepdims": True}, {"dtype": np.result_type(dtype, np.float64)}):
                require_same_bits(psum(cube, axes, **options), general_sum(cube, axes, **options))
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


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_out_is_written_before_an_error_is_raised(axis: int | None, workers: int) -> None:
    a = np.full((200, 300), 1e308)
    out = np.zeros(np.zeros_like(a).sum(axis).shape)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        psum(a, axis, out=out, backend="openmp", workers=workers)
    assert np.isinf(out).all()


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
