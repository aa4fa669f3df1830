"""Products of a matrix and many vectors at once, of integers and bool: those of each vector by itself, and NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlinalg import _kernels, matvec, operator
from parlinalg.testing.checks import require_same_bits
from parlinalg.testing.strategies import LAYOUTS, lay_out, seeds

DTYPES = [np.dtype(character) for character in "?bBhHiIqQ"]
WORKERS = (1, 2, 3, 5)


def drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """All values alike; of bool few are true, so that sums end anywhere."""
    if dtype.kind == "b":
        return rng.binomial(1, rng.choice([0.01, 0.1, 0.5]), shape).astype(bool)
    ends = np.iinfo(dtype)
    return rng.integers(ends.min, ends.max, shape, dtype, True)


def require_products(A: np.ndarray, X: np.ndarray, **options: Any) -> None:
    expected = np.matmul(A, X)
    with operator(A, backend="openmp", **options) as op:
        require_same_bits(op @ X, expected)
    require_same_bits(matvec(A, X.T, backend="openmp", **options), np.ascontiguousarray(expected.T))
    out = np.empty_like(expected)
    _kernels.matvec(A, X.T, out.T, 1)
    require_same_bits(out, expected)


@given(
    seeds(),
    st.sampled_from(DTYPES),
    st.tuples(st.integers(1, 40), st.integers(0, 150), st.integers(1, 140)),
    st.tuples(st.sampled_from(list(LAYOUTS)), st.sampled_from(list(LAYOUTS))),
)
def test_few_products(
    rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, int, int], layouts: tuple[str, str]
) -> None:
    m, n, columns = shape
    A, X = drawn(rng, (m, n), dtype), drawn(rng, (n, columns), dtype)
    require_products(lay_out(A, layouts[0]), lay_out(X, layouts[1]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("shape", [(9000, 3, 64), (9000, 40, 20), (50, 3000, 70), (3, 3, 30_000)])
def test_many_products_on_threads(shape: tuple[int, int, int], workers: int, dtype: np.dtype) -> None:
    m, n, columns = shape
    rng = np.random.default_rng(0)
    A, X = drawn(rng, (m, n), dtype), drawn(rng, (n, columns), dtype)
    for matrix in (A, np.asfortranarray(A), np.asfortranarray(A)[:, ::-1]):
        require_products(matrix, X, workers=workers)


@pytest.mark.parametrize("count", [1, 5, 15, 16, 17, 63, 64, 65, 80, 81])
def test_bool_with_one_true_in_each_row(count: int) -> None:
    A = np.eye(count + 3, count, dtype=bool)
    require_products(A, np.ones((count, 40), bool))
    require_products(A, np.eye(count, 40, dtype=bool))


def test_bytes_of_bool_that_are_neither_0_nor_1() -> None:
    A, X = np.array([[2, 0], [0, 4], [0, 0], [255, 1]], np.uint8), np.array([[1, 0, 128], [3, 0, 0]], np.uint8)
    with operator(A.view(bool), backend="openmp") as op:
        result = op @ X.view(bool)
    assert result.view(np.uint8).tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1]]


@given(seeds(), st.sampled_from(["?", "i4", "f4", "c16"]), st.permutations(range(3)), st.permutations(range(3)))
def test_batches_of_which_rows_lie_further_apart_than_matrices(
    rng: np.random.Generator, dtype: str, of_A: list[int], of_out: list[int]
) -> None:
    shape = rng.integers(1, 9, 3)
    A = rng.integers(-3, 4, shape[of_A]).astype(dtype).transpose(np.argsort(of_A))
    x = rng.integers(-3, 4, shape[2]).astype(dtype)
    shape_of_out = [*shape[:2], 1]
    out = np.empty([shape_of_out[k] for k in of_out], dtype).transpose(np.argsort(of_out))[..., 0]
    matvec(A, x, out, backend="openmp")
    require_same_bits(out, np.matvec(A, x))
