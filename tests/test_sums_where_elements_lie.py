"""Sums of elements that are read where they lie: side by side, any bytes apart, in pairs, or backwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from parlinalg import psum
from parlinalg.sums import psum as short_cut
from parlinalg.testing.checks import require_same_bits
from parlinalg.testing.oracle import exact_sum

general_sum: Any = short_cut.__wrapped__  # type: ignore[attr-defined]

STEPS = (1, 2, 3, 7, -1, -2, -3, 0)
SHAPES = ((1, 40), (40, 1), (7, 5), (3, 70), (33, 21), (9, 130), (100, 33))
FLOATS = ("f8", "f4", "f2", "c16", "c8")


def drawn(shape: tuple[int, ...], dtype: str, seed: int = 0, exponents: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a: Any = rng.standard_normal(shape) * 2.0 ** rng.integers(-exponents, exponents, shape)
    if dtype[0] == "c":
        a = a + 1j * a[::-1, ::-1] / 3
    drawn_there: np.ndarray = a.astype(dtype)
    return drawn_there


def laid_out(a: np.ndarray, step: int, axis: int) -> np.ndarray:
    """The same numbers, of which each is `step` elements after the one before; 0: all are the first one."""
    index = [slice(None)] * a.ndim
    if step == 0:
        index[axis] = slice(0, 1)
        return np.broadcast_to(a[tuple(index)], a.shape)
    index[axis] = slice(None, None, step)
    longer = [length * (abs(step) if k == axis else 1) for k, length in enumerate(a.shape)]
    numbers = np.full(longer, np.nan, a.dtype)
    numbers[tuple(index)] = a
    return numbers[tuple(index)]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_elements_any_bytes_apart(dtype: str, step: int, instruction_set: str) -> None:
    for shape in SHAPES:
        a = drawn(shape, dtype)
        for along in (0, 1):
            laid = laid_out(a, step, along)
            for axis in (0, 1, None):
                expected = exact_sum(np.ascontiguousarray(laid), axis).value[()]
                require_same_bits(psum(laid, axis), expected, (shape, along, axis))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(300, 900), (3000, 70), (40000, 33), (17, 5000)])
def test_columns_on_threads(shape: tuple[int, int], dtype: str) -> None:
    a = drawn(shape, dtype)
    expected = psum(np.ascontiguousarray(a.T), 1, workers=1)
    for numbers in (a, laid_out(a, 2, 1), laid_out(a, -1, 1), np.stack([a, a], 2)[..., 0]):
        for workers in (1, 2, 3, 5):
            require_same_bits(psum(numbers, 0, backend="openmp", workers=workers), expected, workers)
    pairs = psum(np.stack([a, -a], 2), 0, backend="openmp", workers=2)
    require_same_bits(pairs, np.stack([expected, psum(-a, 0)], -1))


@pytest.mark.parametrize("dtype", FLOATS)
def test_single_elements_are_sums(dtype: str, instruction_set: str) -> None:
    """Of which there is no -0.0, and one NaN."""
    a = drawn((5, 300), dtype)
    a[2, 3:5] = -0.0
    for laid in (a, laid_out(a, 2, 1), laid_out(a, 3, 1), a[:, ::-1]):
        require_same_bits(psum(laid[None], 0), laid + laid.dtype.type(0))
        wider = "c16" if dtype[0] == "c" else "f8"
        require_same_bits(psum(laid[..., None], -1, dtype=wider), laid.astype(wider) + 0)
    a[3, 4] = np.copysign(np.nan, -1)
    nan = psum(a[None], 0)[3, 4]
    require_same_bits(nan.real, nan.real.dtype.type(np.nan))


@pytest.mark.parametrize("initial", [3, -7, 0.1, 2.0**53, 1e-300, 1e300, np.inf, np.nan])
@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_along_axes_begin_with_a_number(dtype: str, initial: float, instruction_set: str) -> None:
    for shape in ((), (0,), (1,), (3, 0, 2), (2, 3), (1, 2, 1), (5, 40, 2), (40, 9), (3, 70, 5)):
        a = drawn((*shape, 1, 1), dtype, exponents=40 if dtype != "f2" else 4)[..., 0, 0]
        for axis in (None, 0, -1, (0, -1)):
            if axis is not None and (not shape or (axis == (0, -1) and len(shape) < 2)):
                continue
            for laid in (a, a[(slice(None, None, -1),) * a.ndim], a.T, np.repeat(a, 3, -1)[..., ::3] if shape else a):
                with np.errstate(over="ignore", invalid="ignore"):
                    expected = general_sum(laid, axis, initial=initial)
                    require_same_bits(psum(laid, axis, initial=initial), expected, (shape, axis, laid.strides))


@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "c8"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_many_numbers_and_one_more_on_threads(dtype: str, axis: int | None) -> None:
    a = drawn((300, 701), dtype)
    expected = general_sum(a, axis, initial=0.1)
    for numbers in (a, a[:, ::-1], np.asfortranarray(a), np.repeat(a, 3, 1)[:, ::3]):
        expected = general_sum(numbers, axis, initial=0.1)
        for workers in (None, 1, 2, 3, 5):
            require_same_bits(psum(numbers, axis, initial=0.1, workers=workers), expected, workers)
            kept = psum(numbers, axis, initial=0.1, keepdims=True, workers=workers)
            require_same_bits(kept.reshape(np.shape(expected)), np.asarray(expected))


@pytest.mark.parametrize("dtype", ["c16", "c8"])
def test_parts_on_threads_where_no_axis_is_longer(dtype: str) -> None:
    a = np.ones((2,) * 12, dtype)
    for workers in (1, 2, 3, 5):
        total = psum(a, initial=5.0, backend="openmp", workers=workers)
        require_same_bits(total, a.dtype.type(4101))
        sums = psum(a, tuple(range(1, 12)), initial=5.0, backend="openmp", workers=workers)
        require_same_bits(sums, np.full(2, 2053, dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_of_nothing_that_begin_below_the_smallest_number(dtype: str, instruction_set: str) -> None:
    for initial in (-0.0, -1e-60, -5e-324):
        for shape in ((0,), (0, 20), (20, 0)):
            a = np.zeros(shape, dtype)
            require_same_bits(psum(a, 0, initial=initial), general_sum(a, 0, initial=initial), (initial, shape))
            require_same_bits(psum(a, initial=initial), general_sum(a, initial=initial), (initial, shape))


def test_an_initial_number_that_is_too_large_is_said_once() -> None:
    with pytest.warns(RuntimeWarning, match="overflow encountered in cast") as seen:
        assert psum(np.ones(3, "f4"), initial=1e300) == np.inf
    assert len(seen) == 1


@pytest.mark.parametrize("wanted", ["f8", "f4"])
@pytest.mark.parametrize("dtype", ["i8", "u8", "i4"])
def test_integers_are_cast_along_axes(dtype: str, wanted: str) -> None:
    info = np.iinfo(dtype)
    a = np.random.default_rng(0).integers(info.min, info.max, (300, 301), dtype, endpoint=True)
    for numbers in (a, a.T, a[:, ::-1], np.repeat(a, 2, 1)[:, ::2], a.astype(a.dtype.newbyteorder()), a[:, :5]):
        for axis in (None, 0, 1):
            for workers in (1, 2, 3):
                expected = psum(numbers.astype(wanted), axis)
                require_same_bits(psum(numbers, axis, dtype=wanted, workers=workers), expected, (axis, workers))


def test_results_of_fortran_arrays_lie_as_those_of_numpy() -> None:
    a = np.asfortranarray(np.ones((3, 4, 5)))
    for numbers in (a, a.astype(">f8"), a + 1j):
        for axis in (0, 1, 2):
            assert psum(numbers, axis).strides == np.sum(numbers, axis).strides
