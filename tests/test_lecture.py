"""The bugs of the lecture's programs, each held down by name, on every backend.

They are: rows lost when the number of workers does not divide theirs; a second call that adds onto the first; results
sized as if A were square; 32-bit indices; a size, and a dtype, built into the kernel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parlinalg
from parlinalg.plan import plan_matvec
from parlinalg.registry import default_instance
from parlinalg.testing.checks import require_close, require_same_bits
from parlinalg.testing.oracle import exact_matvec, exact_sum
from parlinalg.testing.strategies import PRODUCT_DTYPES, SUM_DTYPES

WORKERS = (1, 2, 3, 5)
BEYOND_INT32 = 46_342  # squared, the first even number above 2**31


def counts(backend: str) -> list[int]:
    capacity = default_instance(backend).capacity
    return [count for count in WORKERS if capacity is None or count <= capacity]


# (1) m = n/N drops the last n % N rows


@pytest.mark.parametrize("m", [1, 2, 4, 7, 16, 17, 101, 1009])
def test_1_no_row_of_a_matvec_is_lost(backend: str, m: int) -> None:
    A = np.arange(1, 3 * m + 1).reshape(m, 3)
    for workers in counts(backend):
        y = parlinalg.matvec(A, [1, 10, 100], backend=backend, workers=workers)
        assert y.tolist() == [a + 10 * b + 100 * c for a, b, c in A.tolist()]


@pytest.mark.parametrize("n", [1, 2, 4, 7, 16, 17, 101, 1009, 10_007])
def test_1_no_element_of_a_psum_is_lost(backend: str, n: int) -> None:
    a = 2.0 ** (np.arange(n) % 40)  # any lost element is seen
    for workers in counts(backend):
        assert parlinalg.psum(a, backend=backend, workers=workers) == sum(2 ** (i % 40) for i in range(n))


@pytest.mark.parametrize("n", [7, 101, 5003])
def test_1_no_column_of_a_wide_matrix_is_lost(backend: str, n: int) -> None:
    A = np.stack([2.0 ** (np.arange(n) % 30), np.ones(n)])
    for workers in counts(backend):
        y = parlinalg.matvec(A, np.ones(n), backend=backend, workers=workers)
        assert y.tolist() == [sum(2 ** (i % 30) for i in range(n)), n]


# (2) y is accumulated into without being set to zero


def test_2_a_second_call_does_not_add_to_the_first(backend: str) -> None:
    A, x = np.arange(77.0).reshape(11, 7), np.arange(7.0)
    for workers in counts(backend):
        y = np.full(11, np.nan)
        for _ in range(3):
            parlinalg.matvec(A, x, out=y, backend=backend, workers=workers)
            require_close(y, exact_matvec(A, x), workers)


def test_2_a_second_sum_does_not_add_to_the_first(backend: str) -> None:
    a = np.arange(77.0).reshape(11, 7)
    for workers in counts(backend):
        out = np.full(7, np.nan)
        for _ in range(3):
            parlinalg.psum(a, axis=0, out=out, backend=backend, workers=workers)
            require_same_bits(out, exact_sum(a, 0).value, workers)


# (3) zeros_like(x) is the result only of a square A


@pytest.mark.parametrize(("m", "n"), [(3, 8), (8, 3), (1, 9), (9, 1), (0, 4), (4, 0), (301, 2), (2, 301)])
def test_3_a_need_not_be_square(backend: str, m: int, n: int) -> None:
    A, x = np.arange(float(m * n)).reshape(m, n), np.arange(1.0, n + 1)
    for workers in counts(backend):
        require_close(parlinalg.matvec(A, x, backend=backend, workers=workers), exact_matvec(A, x), workers)


# (4) indices of 32 bits overflow for n >= 46341


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """A square int8 matrix of more than 2**31 bytes, of which the corners are not zero and few pages exist."""
    path = tmp_path_factory.mktemp("huge") / "sparse"
    huge = np.memmap(path, np.int8, "w+", shape=(BEYOND_INT32, BEYOND_INT32))
    huge[0, 0], huge[0, -1], huge[-1, 0], huge[-1, -1] = 1, 2, 3, 4
    return np.asarray(huge)


def test_4_strides_beyond_32_bits(backend: str, huge: np.ndarray) -> None:
    far = BEYOND_INT32 - 1
    corners = huge[::far, ::far]
    assert corners.strides[0] > 2**31
    for workers in counts(backend):
        options: dict[str, Any] = {"backend": backend, "workers": workers}
        assert parlinalg.matvec(corners, [1, 10], **options).tolist() == [21, 43]
        assert parlinalg.matvec(corners.T, np.array([1, 10], np.int8), **options).tolist() == [31, 42]
        assert parlinalg.matvec(huge[::far, -2:], [5, 1], **options).tolist() == [2, 4]
        assert parlinalg.psum(corners, **options) == 10
        assert parlinalg.psum(corners, axis=0, **options).tolist() == [4, 6]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openmp"])  # others copy or cast it, and prove no more
def test_4_more_than_2_to_the_31_elements(backend: str) -> None:
    n = BEYOND_INT32
    ones = np.broadcast_to(np.int8(1), (n, n))
    y = parlinalg.matvec(ones, np.ones(n, np.int32), backend=backend)
    assert (y == n).all()
    assert parlinalg.psum(ones, backend=backend) == n * n
    assert parlinalg.psum(np.broadcast_to(np.int8(1), 2**31 + 7), backend=backend) == 2**31 + 7


# (5) the size is built into the kernel


def test_5_one_process_takes_matrices_of_all_sizes(backend: str) -> None:
    for n in (1, 2, 48, 3, 129, 64, 5, 48):
        for m in (n, n + 1):
            A, x = np.arange(m * n).reshape(m, n) % 100, np.arange(n) % 10
            require_close(parlinalg.matvec(A, x, backend=backend), exact_matvec(A, x), (m, n))


# (6) the data are float32


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES, ids=str)
def test_6_matvec_returns_the_dtype_that_it_was_given(backend: str, dtype: np.dtype) -> None:
    A, x = np.array([[1, 0, 1], [0, 1, 1]], dtype), np.array([1, 1, 0], dtype)
    if default_instance(backend).refusal(plan_matvec(A.shape, dtype, x.shape, dtype)) is not None:
        with pytest.raises(parlinalg.BackendUnavailable):  # and is not computed in another
            parlinalg.matvec(A, x, backend=backend)
        return
    y = parlinalg.matvec(A, x, backend=backend)
    assert y.dtype == dtype
    assert y.tolist() == [1, 1]


def test_6_float64_is_not_computed_in_float32(backend: str) -> None:
    tiny = 2.0**-50
    assert parlinalg.matvec([[1.0, tiny]], [1.0, 1.0], backend=backend)[0] == 1 + tiny
    assert parlinalg.psum([1.0, tiny], backend=backend) == 1 + tiny


def test_6_int64_is_not_computed_in_floats(backend: str) -> None:
    large = 2**62 + 1
    assert parlinalg.matvec([[large, 1]], [1, 1], backend=backend)[0] == large + 1
    assert parlinalg.psum([large, 1], backend=backend) == large + 1


@pytest.mark.parametrize("dtype", SUM_DTYPES, ids=str)
def test_6_psum_returns_the_dtype_of_numpy(backend: str, dtype: np.dtype) -> None:
    a = np.array([1, 0, 1], dtype)
    total = parlinalg.psum(a, backend=backend)
    assert total.dtype == np.sum(a).dtype
    assert total == 2


def test_the_programs_are_the_same_call(backend: str, tmp_path: Path) -> None:
    """A file, an operator and an array: one matrix, one answer."""
    A, x = np.random.default_rng(0).standard_normal((37, 23)), np.ones(23)
    np.save(tmp_path / "A.npy", A)
    y = parlinalg.matvec(A, x, backend=backend, workers=1)
    require_close(y, exact_matvec(A, x))
    with parlinalg.operator(tmp_path / "A.npy", backend=backend, workers=1) as op:
        require_close(op.matvec(x), exact_matvec(A, x))
