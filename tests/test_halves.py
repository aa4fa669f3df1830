"""Runs of float16, which are added up as multiples of 2**-24."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from parlinalg import matvec, psum, vecdot
from parlinalg.testing.checks import require_same_bits

EVERY_HALF = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
FINITE = EVERY_HALF[np.isfinite(EVERY_HALF)]
TINY = 2.0**-24
BLOCK = 8 * 4096  # elements that are added up in float64


def as_doubles(a: np.ndarray, **options: Any) -> float:
    """The sum, rounded once to float64."""
    out = np.empty(())
    psum(a, out=out, **options)
    return float(out)


@pytest.mark.parametrize("n", [*range(1, 40), 100, BLOCK - 1, BLOCK, BLOCK + 1, len(FINITE)])
def test_sums_of_any_length_are_rounded_once(n: int, instruction_set: str) -> None:
    rng = np.random.default_rng(n)
    a = rng.permutation(FINITE)[:n]
    expected = math.fsum(a.astype(float))
    assert as_doubles(a) == expected
    assert as_doubles(np.repeat(a, 2)[::2]) == expected
    assert as_doubles(a[::-1]) == expected
    assert as_doubles(a.astype(a.dtype.newbyteorder())) == expected
    with np.errstate(over="ignore"):
        require_same_bits(psum(a), np.float64(expected).astype(np.float16))


def test_the_largest_do_not_fill_a_window(instruction_set: str) -> None:
    n = 9_000_000  # more than 2**63 units of 2**-24
    a = np.full(n + 32, 65504, np.float16)
    assert as_doubles(a[:n]) == as_doubles(a[:n], backend="openmp", workers=1) == n * 65504.0
    out = np.empty(16)
    rows = np.lib.stride_tricks.as_strided(a, (16, n), (4, 2))
    psum(rows, 1, out=out, backend="openmp", workers=2)  # each of them by one thread
    require_same_bits(out, np.full(16, n * 65504.0))


@pytest.mark.parametrize("at", [0, 5, BLOCK + 3, 2 * BLOCK + 1])
def test_numbers_that_are_not_finite_spoil_no_others(at: int, instruction_set: str) -> None:
    a = np.random.default_rng(at).choice(FINITE, 2 * BLOCK + 2)
    a[at] = 0
    zeros = np.zeros_like(a)
    rows = np.stack([a, zeros, a])
    expected = math.fsum(a.astype(float))
    for special in (np.inf, -np.inf, np.nan):
        rows[1, at] = special
        out = np.empty(3)
        psum(rows, 1, out=out)
        require_same_bits(out, np.array([expected, special, expected]))
        assert np.array_equal(as_doubles(rows), special, equal_nan=True)
    rows[1, at], rows[1, at - 1] = np.inf, -np.inf
    with pytest.warns(RuntimeWarning, match="invalid"):
        assert np.isnan(as_doubles(rows))


@pytest.mark.parametrize("n", [*range(1, 70), 127, 500, 4097, 4111, 8193])
def test_rows_of_any_length(n: int, instruction_set: str) -> None:
    rng = np.random.default_rng(n)
    A, x = rng.integers(-3, 4, (7, n)).astype(np.float16), rng.integers(-3, 4, n).astype(np.float16)
    for at in range(0, n, 1 + n // 12):
        A[:, at] = x[at] = 1
        B = A.copy()
        require_same_bits(matvec(A, x), (A.astype(int) @ x.astype(int)).astype(np.float16))
        require_same_bits(vecdot(A[3], x), matvec(A, x)[3])
        B[2, at] = np.inf
        require_same_bits(matvec(B, x)[[1, 3]], matvec(A, x)[[1, 3]])
        assert matvec(B, x)[2] == vecdot(B[2], x) == np.inf
        x[at] = np.inf
        assert (matvec(A, x) == np.inf).all()
        assert vecdot(A[3], x) == np.inf
        x[at] = 1
