"""Sums along an axis whose results lie side by side: several of them are rounded together where that is exact."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from parlinalg import psum, vecdot
from parlinalg.testing.checks import require_same_bits

ROWS = (1, 2, 3, 9, 31, 32, 33, 64, 127, 600, 9000)
COLUMNS = 19  # no whole number of vectors


def exact_sums(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """By ``math.fsum``, of columns that are multiples of the smallest float64, and do not overflow."""
    sums = [math.fsum(column) for column in a.astype(float).T]
    return np.array(sums).astype(dtype)


def columns_of(kind: str, rows: int) -> np.ndarray:
    rng = np.random.default_rng(rows)
    drawn = rng.random((rows, COLUMNS))
    if kind == "signs":
        return drawn - 0.5
    if kind == "positive":
        return 1 + drawn
    if kind == "cancel":
        drawn[rows // 2 :] = -drawn[: rows - rows // 2]
        drawn[-1] += 2.0**-60
        return drawn
    if kind == "tiny":
        return drawn * 2.0**-1040
    if kind == "apart":  # by more than one lane's window holds
        return drawn * 2.0 ** rng.integers(-300, 300, drawn.shape)
    if kind == "by lane":
        return drawn * 2.0 ** rng.integers(-300, 300, COLUMNS)
    assert kind == "ties"
    drawn[:] = 2.0**-53
    drawn[0] = 1 + np.arange(COLUMNS) * 2.0**-52
    return drawn


@pytest.mark.parametrize("kind", ["signs", "positive", "cancel", "tiny", "apart", "by lane", "ties"])
@pytest.mark.parametrize("rows", ROWS)
def test_columns_are_rounded_once(kind: str, rows: int, instruction_set: str) -> None:
    a = columns_of(kind, rows)
    expected = exact_sums(a, a.dtype)
    blocks = np.stack([a, 2 * a, -a])
    for name, sums in (
        ("rows", psum(a, 0)),
        ("columns", psum(np.asfortranarray(a), 0)),
        ("sliced", psum(np.repeat(a, 2, axis=1)[:, ::2], 0)),
        ("swapped", psum(a.astype(">f8"), 0)),
        ("between", psum(blocks, 1)[0]),
        ("parts", psum(a * (1 - 1j), 0).real),
    ):
        require_same_bits(sums, expected, (kind, rows, name))
    require_same_bits(psum(blocks, 1)[1:], np.stack([2 * expected, 0 - expected]), (kind, rows))


@pytest.mark.parametrize("kind", ["signs", "positive", "cancel", "by lane", "ties"])
@pytest.mark.parametrize("rows", ROWS)
def test_columns_of_float32(kind: str, rows: int, instruction_set: str) -> None:
    with np.errstate(over="ignore", under="ignore"):
        a: np.ndarray = np.clip(columns_of(kind, rows).astype(np.float32), -1e30, 1e30)
    require_same_bits(psum(a, 0, dtype=float), exact_sums(a, np.dtype(float)), kind)
    singles = [np.float32(psum(column)) for column in a.T]
    require_same_bits(psum(a, 0), np.array(singles), kind)
    halves = np.clip(a, -6, 6).astype(np.float16)
    with np.errstate(over="ignore"):
        require_same_bits(psum(halves, 0), np.array([psum(column) for column in halves.T]), kind)


@pytest.mark.parametrize("rows", [3, 5, 8, 9, 40])
def test_what_the_errors_of_additions_lose_decides_a_tie(rows: int, instruction_set: str) -> None:
    a = np.zeros((rows, COLUMNS))
    a[0], a[1] = 1, 2.0**-53  # halfway between two float64
    a[-1, ::3], a[-1, 1::3] = 2.0**-120, -(2.0**-120)
    require_same_bits(psum(a, 0), np.where(a[-1] > 0, 1 + 2.0**-52, 1))
    require_same_bits(psum(a[:, ::-1], 0), np.where(a[-1, ::-1] > 0, 1 + 2.0**-52, 1))


@pytest.mark.parametrize("rows", [2, 3, 8, 9, 40])
def test_float64_are_rounded_once_to_float32(rows: int, instruction_set: str) -> None:
    a = np.zeros((rows, COLUMNS))
    a[0] = 1 + 2.0**-24  # halfway between two float32
    a[-1, ::3], a[-1, 1::3] = 2.0**-80, -(2.0**-80)
    out = np.empty(COLUMNS, np.float32)
    psum(a, 0, out=out)
    assert (out[::3] == 1 + 2.0**-23).all()
    assert (out[1::3] == 1).all()
    assert (out[2::3] == 1).all()
    singles = a.astype(np.float32)
    singles[0], singles[-1] = 1, 2.0**-24 * np.sign(a[-1]) + np.where(a[-1] > 0, 2.0**-40, 0)
    expected = [np.float32(math.fsum(column)) for column in singles.astype(float).T]
    require_same_bits(psum(singles, 0), np.array(expected))


@pytest.mark.parametrize("order", [(1, 2.0**60, -(2.0**60)), (2.0**60, 1, -(2.0**60)), (2.0**60, -(2.0**60), 1)])
@pytest.mark.parametrize("rows", [3, 20, 40])
def test_what_is_lost_to_a_larger_float32_comes_back(
    rows: int, order: tuple[float, float, float], instruction_set: str
) -> None:
    a = np.zeros((rows, COLUMNS), np.float32)
    a[-3:, 1] = order
    require_same_bits(psum(a, 0), (np.arange(COLUMNS) == 1).astype(np.float32))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("column", [0, 7, COLUMNS - 1])
def test_a_column_that_is_special_changes_no_other(dtype: str, column: int, instruction_set: str) -> None:
    a = np.random.default_rng(column).random((5, COLUMNS)).astype(dtype)
    expected = psum(a, 0)
    for values in ([np.inf, 1], [np.nan, 0], [np.inf, -np.inf], [np.finfo(dtype).max] * 2, [-0.0, -0.0]):
        b = a.copy()
        b[:, column] = 0
        b[:2, column] = values
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sums = psum(b, 0)
            alone = psum(b[:, column])
        require_same_bits(sums[column], alone)
        require_same_bits(np.delete(sums, column), np.delete(expected, column))
        assert len(caught) in (0, 2), values


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("rows", ROWS)
def test_no_sum_is_negative_zero(rows: int, dtype: str, instruction_set: str) -> None:
    require_same_bits(psum(-np.zeros((rows, COLUMNS), dtype), axis=0), np.zeros(COLUMNS, dtype))


@pytest.mark.parametrize("rows", [3, 8, 9, 40])
def test_columns_that_are_rounded_to_infinity_are_reported(rows: int, instruction_set: str) -> None:
    a = np.zeros((rows, 64))
    a[0], a[1:3] = np.finfo(float).max, 2.0**969  # each of which is too small to be seen beside it
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert np.isinf(psum(a, 0)).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_two_rows_that_overflow_are_reported(dtype: str, instruction_set: str) -> None:
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert np.isinf(psum(np.full((2, 64), np.finfo(dtype).max), 0)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(("dtype", "bits"), [("c8", 20), ("c16", 50)])
def test_exact_products_of_few_complex_numbers(n: int, dtype: str, bits: int, instruction_set: str) -> None:
    rng = np.random.default_rng(n)
    parts = rng.integers(-(2**bits), 2**bits, (4, 20, n))
    x, y = (real.astype(float) + 1j * imaginary for real, imaginary in (parts[:2], parts[2:]))
    a, b, c, d = parts.astype(object)
    real, imaginary = (a * c + b * d).sum(1), (a * d - b * c).sum(1)
    x, y = x.astype(dtype), y.astype(dtype)
    expected = np.array([complex(float(u), float(v)) for u, v in zip(real, imaginary, strict=True)])
    for u, v in ((x, y), (x, y[:, ::-1].copy()[:, ::-1]), (x[:, ::-1].copy()[:, ::-1], np.asfortranarray(y))):
        require_same_bits(vecdot(u, v, exact=True), expected.astype(dtype))
        one_by_one = [vecdot(one, other, exact=True) for one, other in zip(u, v, strict=True)]
        require_same_bits(np.array(one_by_one), expected.astype(dtype))
