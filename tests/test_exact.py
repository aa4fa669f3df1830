"""States and their rounding, and the oracle that the other tests trust."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import parlinalg
from parlinalg import _kernels
from parlinalg.exact import FLOAT_DIGITS, digits, round_states
from parlinalg.testing.checks import require_same_bits
from parlinalg.testing.oracle import exact_matvec, exact_sum, gamma, integers, round_to, same_bits

F16, F32, F64 = (np.dtype(name) for name in ("float16", "float32", "float64"))
FLOATS = (F16, F32, F64)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
LARGEST = 1.7976931348623157e308


def total(values: list[float], dtype: np.dtype = F64) -> Any:
    with np.errstate(all="ignore"):
        return round_states(_kernels.sum_states(np.array(values), 0, 1), dtype)[()]


# The sum that is asked for, by three independent ways: states, the oracle, and Fraction or math.fsum.


@given(st.lists(FINITE, max_size=30))
@example([1e308, 1e308, -1e308])
@example([LARGEST, 2.0**970, -5e-324])
@example([LARGEST, 2.0**970])
@example([1.0, 2.0**-53, 5e-324])
@example([1.0, 2.0**-53, -5e-324])
@example([-1.0, -(2.0**-53), -5e-324])
@example([2.0**52, 0.5, 2.0**-1074])
@example([2.0**53, 1.0, 2.0**-1074])
def test_the_sum_is_correctly_rounded(values: list[float]) -> None:
    true = sum(map(Fraction, values))
    try:
        expected = float(true)
    except OverflowError:
        expected = math.inf if true > 0 else -math.inf
    assert total(values) == expected
    assert total([-value for value in values]) == -expected
    assert exact_sum(np.array(values)).value == expected


@given(st.lists(FINITE.map(lambda value: value / 2.0**60), max_size=30))
def test_the_sum_is_that_of_fsum(values: list[float]) -> None:
    require_same_bits(total(values), np.float64(math.fsum(values) + 0.0))


@given(st.lists(FINITE, max_size=10), st.sampled_from(FLOATS))
def test_rounding_goes_directly_to_the_dtype(values: list[float], dtype: np.dtype) -> None:
    require_same_bits(total(values, dtype), exact_sum(np.array(values), rounded_to=dtype).value)


def test_a_float32_is_not_rounded_twice() -> None:
    values = [1.0, 2.0**-24, 2.0**-60]  # to float64 first would give the tie 1 + 2**-24, and then 1.0
    assert total(values, F32) == np.float32(1.0000001)
    assert parlinalg.psum(np.array(values, np.float32)) == np.float32(1.0000001)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([], "zero"),
        ([-0.0], "zero"),
        ([-0.0, -0.0], "zero"),
        ([1.5, -1.5], "zero"),
        ([math.nan], "nan"),
        ([-math.nan, 1.0], "nan"),
        ([math.inf, -math.inf], "nan"),
        ([math.inf, math.nan, -math.inf], "nan"),
        ([math.inf, 1.0], "inf"),
        ([-math.inf, -1.0], "-inf"),
    ],
)
def test_the_table_of_special_values(values: list[float], bits: str, dtype: np.dtype) -> None:
    words = {
        "zero": (0, 0, 0),
        "nan": (0x7E00, 0x7FC00000, 0x7FF8000000000000),
        "inf": (0x7C00, 0x7F800000, 0x7FF0000000000000),
        "-inf": (0xFC00, 0xFF800000, 0xFFF0000000000000),
    }
    expected = words[bits][FLOATS.index(dtype)]
    for name in ("numpy", "openmp"):
        with np.errstate(all="ignore"):
            given_ = parlinalg.psum(np.array(values, dtype), backend=name)
        assert int(given_.view(f"u{dtype.itemsize}")) == expected
    assert int(exact_sum(np.array(values, dtype)).value.view(f"u{dtype.itemsize}")) == expected


# States


def test_lengths_of_states() -> None:
    assert (digits(np.dtype(np.int8)), digits(np.dtype(bool))) == (1, 1)
    assert FLOAT_DIGITS == digits(F64) == digits(F16) == digits(np.dtype(np.complex64)) == 73


@given(st.lists(FINITE, max_size=20), st.randoms(use_true_random=False))
def test_merging_is_addition_in_any_order(values: list[float], random: Any) -> None:
    states = [_kernels.sum_states(np.array([value]), 0, 1) for value in values]
    random.shuffle(states)
    merged = np.add.reduce([*states, np.zeros(FLOAT_DIGITS, np.int64)])
    with np.errstate(all="ignore"):
        require_same_bits(round_states(merged, F64)[()], total(values))


@given(st.lists(st.integers(-(2**62), 2**62), min_size=70, max_size=70))
def test_rounding_takes_states_that_are_not_normalised(digits_: list[int]) -> None:
    digits_[69] //= 2**40  # beyond it the value of a state is no finite number of its 70 digits
    state = np.array([*digits_, 0, 0, 0], np.int64)
    expected, _ = round_to(sum(digit << (32 * j) for j, digit in enumerate(digits_)), -1088, F64)
    normal = state.copy()
    _kernels.normalise(normal)
    with np.errstate(all="ignore"):
        assert round_states(state, F64)[()] == round_states(normal, F64)[()] == expected
    assert (np.abs(normal[:69]) <= 2**31).all()


def test_two_to_the_31_states_can_be_merged() -> None:
    state = _kernels.sum_states(np.array([LARGEST, -5e-324, 0.1]), 0, 1)
    assert abs(state[:70]).max() <= 2**31
    assert total([LARGEST]) == round_states(state, F64)[()]


@pytest.mark.parametrize("n", [1, 2047, 2048, 2049, 4097])
def test_edges_of_blocks(n: int) -> None:
    rng = np.random.default_rng(n)
    a = np.ldexp(rng.standard_normal(n), rng.integers(-1074, 1000, n))
    a[-1] = 1e300  # one outlier
    require_same_bits(total(a.tolist()), exact_sum(a).value)
    require_same_bits(total((-a).tolist()), exact_sum(-a).value)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("columns", [2, 15, 16, 17, 24, 33])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_short_runs_do_not_overflow_a_window(columns: int, dtype: str, sign: int) -> None:
    a = np.full((3000, 40), sign * 31.5, dtype)[:, :columns]  # runs that cannot be joined
    a[0] = 1.0  # chooses a window in which the others fit just so
    require_same_bits(parlinalg.psum(a, workers=1), exact_sum(a).value)
    require_same_bits(parlinalg.psum(a[:, np.newaxis], axis=(0, 2)), exact_sum(a).value[np.newaxis])


def test_many_short_strips_do_not_overflow_a_window() -> None:
    rows = np.full((19, 40), 31.5, np.float32)
    rows[:3] = 1.0
    windows = np.lib.stride_tricks.as_strided(rows, (3,) * 9 + (40,), (160,) * 9 + (4,))  # axes that cannot be joined
    total = parlinalg.psum(windows, axis=tuple(range(9)), workers=1)
    require_same_bits(total, np.full(40, 55 + 31.5 * (3**9 - 55), np.float32))


@pytest.mark.parametrize("power", [-500, -1, 1, 300])
def test_scaling_by_a_power_of_two_changes_only_the_exponent(power: int) -> None:
    a = np.random.default_rng(0).standard_normal(999)
    assert np.ldexp(total(a.tolist()), power) == total(np.ldexp(a, power).tolist())


# The oracle


def test_same_bits_tells_what_equality_does_not() -> None:
    assert same_bits(np.float64(1), np.float64(1))
    assert not same_bits(0.0, -0.0)
    assert not same_bits(np.float32(1), np.float64(1))
    assert not same_bits(np.ones(1), np.ones((1, 1)))
    assert not same_bits(np.float64(np.nan), -np.float64(np.nan))
    assert same_bits(np.longdouble(1) / 3, np.longdouble(1) / 3)
    assert not same_bits(np.longdouble(0), -np.longdouble(0))


@given(st.lists(FINITE, max_size=6))
def test_integers_are_the_floats(values: list[float]) -> None:
    ints, exponent = integers(np.array(values))
    assert [int(one) * Fraction(2) ** exponent for one in ints] == list(map(Fraction, values))


def test_integers_are_the_longdoubles() -> None:
    third = np.array([np.longdouble(1) / 3])
    ints, exponent = integers(third)
    assert int(ints[0]) * Fraction(2) ** exponent == Fraction(*third[0].as_integer_ratio())


@given(st.integers(-(2**70), 2**70), st.integers(-1200, 1000))
def test_round_to_rounds_as_fraction(numerator: int, exponent: int) -> None:
    try:
        expected, overflow = float(numerator * Fraction(2) ** exponent), False
    except OverflowError:
        expected, overflow = math.copysign(math.inf, numerator), True
    assert round_to(numerator, exponent, F64) == (expected, overflow)


@pytest.mark.parametrize(
    ("value", "expected", "overflow"),
    [
        (65519, 65504, False),
        (65520, math.inf, True),
        (2049, 2048, False),
        (2051, 2052, False),
        (-65520, -math.inf, True),
    ],
)
def test_round_to_float16(value: int, expected: float, overflow: bool) -> None:
    assert round_to(value, 0, F16) == (expected, overflow)


def test_gamma() -> None:
    assert gamma(1, F64) == Fraction(1, 2**53) / (1 - Fraction(1, 2**53))


def test_the_bound_is_not_so_wide_that_a_lost_term_fits_into_it() -> None:
    A, x = np.ones((2, 10)), np.ones(10)
    exact = exact_matvec(A, x)
    assert exact.deviation(np.full(2, 10.0)) == 0
    assert exact.deviation(np.array([10.0, np.nextafter(10.0, 11.0)])) <= 1
    assert exact.deviation(np.array([10.0, 9.0])) > 1e9 / 2
    assert exact.deviation(np.array([10.0, np.nan])) == exact.deviation(np.array([np.inf, 10.0])) == math.inf
    with pytest.raises(AssertionError, match="dtype is float32, expected float64"):
        exact.deviation(np.full(2, 10, np.float32))
    with pytest.raises(AssertionError, match="shape is"):
        exact.deviation(np.full(3, 10.0))


def test_an_integer_product_must_be_exact() -> None:
    exact = exact_matvec(np.array([[100, 100]], np.int8), np.array([2, 1], np.int8))
    assert exact.value[0] == 44
    assert exact.deviation(np.array([44], np.int8)) == 0
    assert exact.deviation(np.array([45], np.int8)) == math.inf


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0, 0), (0, 3, 2)])
def test_nothing_is_written_where_there_are_no_results(shape: tuple[int, ...]) -> None:
    beside = np.full(4, 7.0)
    out = np.lib.stride_tricks.as_strided(beside, shape[:-1], (0,) * (len(shape) - 1))
    assert out.size == 0
    for workers in (1, 2):
        _kernels.write_sums(np.ones(shape), len(shape) - 1, workers, out)
        assert beside.tolist() == [7.0] * 4
    assert parlinalg.psum(np.ones(shape), axis=-1).shape == shape[:-1]
    assert parlinalg.psum(np.ones(shape, int), axis=0).shape == shape[1:]


@pytest.mark.parametrize("seed", [1, 47, 48, 59])  # a column of each came out wrong
def test_sums_whose_first_fold_is_cancelled_by_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((6, 4000))
    columns = np.concatenate([half, -half * (1 + 2.0**-52)])
    weights = np.tile(rng.standard_normal(6), 2)
    products = parlinalg.vecmat(weights, columns, exact=True, backend="numpy")
    expected = [float(sum(Fraction(w) * Fraction(v) for w, v in zip(weights, a, strict=True))) for a in columns.T]
    require_same_bits(products, np.array(expected))


@pytest.mark.parametrize("dtype", ["f8", "f4", "c8", "c16"])
@pytest.mark.parametrize("shape", [(1, 5), (4, 1, 5), (1, 6, 5), (5,)])
def test_vectors_of_exact_products_are_broadcast(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((4, 6, 3, 5)).astype(dtype), rng.standard_normal(shape).astype(dtype)
    each = np.broadcast_to(x, (4, 6, 5))
    expected = [[parlinalg.matvec(A[i, j], each[i, j], exact=True) for j in range(6)] for i in range(4)]
    require_same_bits(parlinalg.matvec(A, x, exact=True), np.array(expected))
