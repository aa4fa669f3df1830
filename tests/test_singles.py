"""Sums of float32 by float32 folds: their windows, blocks and ends, against exact sums of Python."""

from __future__ import annotations

import math

import numpy as np
import pytest

from parlinalg import _kernels
from parlinalg.operands import real_view

NEIGHBOURS = (math.nan, 0.75)  # of elements that lie apart: with NaN no window fits
LENGTHS = (1, 15, 16, 17, 47, 48, 49, 255, 256, 257, 1000, 2047, 2048, 2049, 4096, 5000)
MOST = float(np.finfo(np.float32).max)
LEAST = 2.0**-149


def kinds(n: int) -> dict[str, np.ndarray]:
    """Numbers that fit into a window, only just, or not."""
    rng = np.random.default_rng(n)
    normal = rng.standard_normal(n)
    signs = rng.choice([-1.0, 1.0], n)
    return {
        "normal": normal,
        "growing": np.ldexp(normal, np.arange(n) * 60 // n),
        "below powers of two": signs * np.nextafter(np.float32(2), np.float32(0)),
        "powers of two": signs * np.ldexp(1.0, rng.integers(-21, 2, n)),
        "over 45 binades": signs * np.ldexp(1.0, rng.integers(-44, 1, n)),
        "over all binades": np.ldexp(normal, rng.integers(-140, 120, n)),
        "subnormal": LEAST * rng.integers(-1000, 1000, n),
        "zeros": 0.0 * signs,
        "one large": np.where(np.arange(n) == n // 2, 2.0**60, normal),
        "cancelling": np.concatenate([normal[: n // 2], -normal[: n // 2], np.full(n - n // 2 * 2, LEAST)]),
    }


def total(a: np.ndarray, workers: int = 1) -> float:
    """As float64, to which the sums of float32 are rounded once."""
    out = np.empty((), np.float64)
    _kernels.write_sums(a, 0, workers, out)
    return float(out)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("step", [1, 2, 3, -1])
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_sums_are_exact(instruction_set: str, n: int, step: int, neighbour: float) -> None:
    for name, values in kinds(n).items():
        a = np.full(abs(step) * n, neighbour, np.float32)[::step]
        a[...] = values
        assert total(a) == math.fsum(a.tolist()), name


@pytest.mark.parametrize("n", [17, 48, 49, 300, 2049])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("step", [1, 2, 3, -2])
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_parts_of_complex_numbers_are_summed_apart(
    instruction_set: str, n: int, dtype: type, step: int, neighbour: float
) -> None:
    for name, values in kinds(n).items():
        a: np.ndarray = np.full(abs(step) * n, complex(neighbour, neighbour), dtype)[::step]
        a[...] = values.astype(np.float32) + 1j * normal_like(values)
        out = np.empty(2)
        _kernels.write_sums(real_view(a, 0), 1, 1, out)
        assert out.tolist() == [math.fsum(a.real.tolist()), math.fsum(a.imag.tolist())], name


def normal_like(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(values.size).astype(np.float32)


def test_rows_that_fit_into_no_window_leave_the_others_alone(instruction_set: str) -> None:
    named = kinds(300)
    A = np.array([named[name] for name in sorted(named)] * 3, np.float32)
    out = np.empty(len(A))
    _kernels.write_sums(A, 1, 1, out)
    assert out.tolist() == [math.fsum(row.tolist()) for row in A]


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 1, 300, 2047, 2048, 4999])
def test_infinities_and_nan_are_found(instruction_set: str, special: float, place: int) -> None:
    a = np.ones(5000, np.float32)
    a[place] = special
    assert np.array_equal(total(a), special, equal_nan=True)


def test_the_largest_numbers(instruction_set: str) -> None:
    a = np.array([MOST, -MOST, MOST, 1.0] * 100, np.float32)
    assert total(a) == math.fsum(a.tolist())


def test_many_of_the_largest_integers_of_a_window(instruction_set: str) -> None:
    a = np.full(1 << 20, np.nextafter(np.float32(4), np.float32(0)), np.float32)
    a[0] = 2.0
    assert total(a) == math.fsum(a.tolist())
    assert total(-a) == -total(a)
