"""Sums by plain additions: exact up to the last bit that these can hold, and noticed beyond it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from parlinalg import PartialSum, matvec, psum
from parlinalg.testing.checks import require_same_bits
from parlinalg.testing.oracle import exact_sum

MOST = float(np.finfo(float).max)
HALF_OF_ITS_LAST_BIT = 2.0**970
BLOCK = 256  # vectors of a run that are added at a time
LENGTHS = (2, 7, 16, 33, 100, 8 * BLOCK + 5, 70 * BLOCK)
ROWS = (2, 8, 9, 32, 33, 64, 65, 257, 290)


def exact(a: np.ndarray, axis: int | None = None, rounded_to: type | None = None) -> Any:
    """The sums in arithmetic of Python's integers."""
    return exact_sum(a, axis, rounded_to=None if rounded_to is None else np.dtype(rounded_to)).value[()]


def ones_and(n: int, exponent: int, at: int) -> np.ndarray:
    a = np.ones(n)
    a[at % n] = 2.0**exponent
    a[(at + 1) % n] = -1 + 2.0**-30
    return a


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_runs_with_one_small_number(n: int, dtype: type, instruction_set: str) -> None:
    out = np.empty(())
    for k in range(8, 120):
        a: np.ndarray = ones_and(n, -k, 7 * k).astype(dtype)
        expected = exact(a, rounded_to=float)
        for laid_out in (a, np.repeat(a, 2)[::2], np.repeat(a, 3)[::3]):
            require_same_bits(psum(laid_out, out=out)[()], expected, k)
        require_same_bits(psum(a), exact(a), k)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_parts_with_one_small_number_each(n: int, dtype: type, instruction_set: str) -> None:
    for k in range(8, 120, 3):
        real, imaginary = ones_and(n, -k, k), ones_and(n, -k - 1, k + 3)
        a: np.ndarray = (real + 1j * imaginary).astype(dtype)
        expected = exact(a)
        require_same_bits(psum(a), expected)
        require_same_bits(psum(np.repeat(a, 2)[::2]), expected)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("columns", [16, 17, 24, 259, 300])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_columns_with_one_small_number_each(rows: int, columns: int, dtype: type, instruction_set: str) -> None:
    a: np.ndarray = np.array([ones_and(rows, -8 - j % 112, 5 * j) for j in range(columns)]).T.astype(dtype)
    expected, as_it_is = exact(a, 0, float), exact(a, 0)
    for laid_out in (a, np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2]):
        out = np.empty(columns)
        require_same_bits(psum(laid_out, 0, out=out), expected)
        require_same_bits(psum(laid_out, 0), as_it_is)


@pytest.mark.parametrize("rows", ROWS)
def test_many_short_rows(rows: int, instruction_set: str) -> None:
    for length in (1, 3, 15, 16, 40, 1024, 1025):
        a = np.array([ones_and(max(length, 2), -8 - j % 112, j)[:length] for j in range(rows)])
        require_same_bits(psum(a, 1), exact(a, 1))
        pairs = (a + 1j * a[::-1]).astype(np.complex64)
        require_same_bits(psum(pairs, 1), exact(pairs, 1))


@pytest.mark.parametrize("rows", [*ROWS, 600, 3000])
def test_sums_of_blocks_that_are_exact_only_by_themselves(rows: int, instruction_set: str) -> None:
    for i, j in ((0, rows - 1), (rows - 1, 0), (0, 1), (0, rows // 2)):
        a = np.zeros((rows, 20))
        a[i] = MOST
        a[j] = HALF_OF_ITS_LAST_BIT * (np.arange(20) % 2)
        with np.errstate(over="ignore"):
            expected = exact(a, 0)
            assert np.isinf(expected[1::2]).all()
            require_same_bits(psum(a, 0), expected)
            require_same_bits(psum(np.ascontiguousarray(a.T), 1), expected)
            for column, value in zip(a.T[:2], expected[:2], strict=True):
                require_same_bits(psum(np.repeat(column, 40)[::40]), np.float64(value))
                long = np.zeros(40 * rows)
                long[[40 * i, 40 * j]] = column[[i, j]]
                require_same_bits(psum(long), np.float64(value))


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_folds_beyond_53_bits_are_rounded_once(sign: int, instruction_set: str) -> None:
    a = np.full((72 * 32, 16), sign * (2.0**42 - 2.0**16))  # 32 of them just fit into a window whose last bit is 1
    a[-32:] = 0
    a[-2] = sign * 1.0  # halfway between two float64
    a[-1, ::2] = sign * 2.0**-20  # decides
    a[-1, 1::2] = -sign * 2.0**-20
    require_same_bits(psum(a, 0, workers=1), exact(a, 0))


@pytest.mark.parametrize("sign", [1, -1])
def test_folds_of_blocks_that_round_do_not_overflow(sign: int, instruction_set: str) -> None:
    a = np.full(70_000, sign * (2 - 2.0**-20))  # which fills a window
    a[::256] = sign * 2.0**-70  # so that plain additions of every block round
    require_same_bits(psum(a, workers=1), np.float64(math.fsum(a.tolist())))


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_states_count_what_is_not_finite(workers: int, instruction_set: str) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        a = np.ones(50 * BLOCK, dtype)
        a[[3, 4, 5000]] = np.inf
        a[[6, 7]] = -np.inf
        a[[9, 12000]] = np.nan
        state = PartialSum.of(a, backend="openmp", workers=workers).state
        assert state[-3:].tolist() == [2, 3, 2]
        grid = a.reshape(-1, 100)
        with np.errstate(invalid="ignore"):
            expected = grid.astype(float).sum(0)
            assert np.array_equal(psum(grid, 0, backend="openmp", workers=workers), expected, equal_nan=True)
            assert np.array_equal(
                psum(grid, 1, backend="openmp", workers=workers), grid.astype(float).sum(1), equal_nan=True
            )


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("columns", [16, 21, 257, 263, 519])
def test_columns_of_overlapping_vectors_are_added_once(columns: int, workers: int, instruction_set: str) -> None:
    a = np.random.default_rng(columns).standard_normal((999, columns))
    expected = exact(a, 0)
    require_same_bits(psum(a, 0, backend="openmp", workers=workers), expected)


@pytest.mark.parametrize("rows", [3, 16, 33, 300])
def test_float16_are_rounded_once(rows: int, instruction_set: str) -> None:
    rng = np.random.default_rng(rows)
    bits = rng.integers(0, 0x7000, (rows, 200), dtype=np.uint16) | rng.integers(0, 2, (rows, 200), np.uint16) << 15
    a = bits.view(np.float16)
    a[-1] = (2.0**-24) * rng.integers(-3, 4, 200)
    with np.errstate(over="ignore"):
        require_same_bits(psum(a, 0), exact(a, 0))
        require_same_bits(psum(np.ascontiguousarray(a.T), 1), exact(a, 0))


@pytest.mark.parametrize("out_dtype", [np.float32, np.float16])
@pytest.mark.parametrize("rows", [2, 16, 40, 300])
def test_sums_of_float64_are_rounded_to_fewer_bits_once(out_dtype: type, rows: int, instruction_set: str) -> None:
    rng = np.random.default_rng(rows)
    bits = np.finfo(out_dtype).nmant
    a = np.ldexp(rng.integers(-(2**bits), 2**bits, (rows, 200)) + 0.5, -bits)  # many sums are ties
    a[-1] = np.ldexp(rng.integers(-3, 4, 200), -rng.integers(bits + 1, 90, 200))
    expected = exact(a, 0, out_dtype)
    for axis, laid_out in ((0, a), (1, np.ascontiguousarray(a.T))):
        out: np.ndarray = np.empty(200, out_dtype)
        require_same_bits(psum(laid_out, axis, out=out), expected)
    one: np.ndarray = np.empty((), out_dtype)
    for column, value in zip(a.T[:20], expected[:20], strict=True):
        require_same_bits(psum(column, out=one)[()], value)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_float64_next_to_a_tie_of_float32_stays_on_its_side(sign: int, instruction_set: str) -> None:
    out: np.ndarray = np.empty(16, np.float32)
    for tiny in (2.0**-60, -(2.0**-60)):
        for off in (-(2.0**-52), 0.0, 2.0**-52):
            column = sign * np.array([1 + 2.0**-23, 2.0**-24, off, tiny])
            a = np.repeat(column[:, None], 16, axis=1)
            require_same_bits(psum(a, 0, out=out), exact(a, 0, np.float32))


def test_exact_products_of_float32_with_small_ones(instruction_set: str) -> None:
    for k in range(8, 60):
        A = np.array([ones_and(75, -k, j) for j in range(40)], np.float32)
        x = np.array(ones_and(75, k // 2, k), np.float32)
        products = A.astype(float) * x.astype(float)  # which are exact
        expected = exact(products, 1, np.float32)
        require_same_bits(matvec(A, x, exact=True), expected)
        require_same_bits(matvec(np.asfortranarray(A), x, exact=True), expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("given", "bhilqBHILQ?")
def test_integers_are_cast_as_they_are_added(given: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    for n in (0, 1, 1000, 70_000):
        a = rng.integers(0, 2 if given == "?" else 2**63 - 1, n).astype(given)
        for laid_out in (a, a[::-1], a.reshape(-1, 1).T):
            expected = psum(a.astype(dtype))
            require_same_bits(psum(laid_out, dtype=dtype), expected)
            for workers in (1, 3):
                require_same_bits(psum(laid_out, dtype=dtype, backend="openmp", workers=workers), expected)
