"""Rows of every length: what lies beside their elements neither counts nor is read where it may not be."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from parlinalg import matvec, vecdot, vecmat

LENGTHS = (*range(1, 20), 31, 32, 33, 47, 48, 63, 64, 65, 100, 127, 129)
STEPS = (1, 2, 3)
DTYPES = "bhilfdFD"


def rows(dtype: str, m: int, n: int, step: int, lda: int) -> np.ndarray:
    """Small integers, every `step`-th of which counts in rows that begin `lda` elements after each other."""
    rng = np.random.default_rng(n)
    numbers = rng.integers(-9, 9, m * lda + step * n).astype(dtype)
    if np.dtype(dtype).kind == "c":
        numbers += (1j * rng.integers(-9, 9, numbers.size)).astype(dtype)
    size = numbers.itemsize
    return np.lib.stride_tricks.as_strided(numbers, (m, n), (lda * size, step * size))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 3, 16, 37, 70])
def test_rows_of_every_length(instruction_set: str, dtype: str, m: int) -> None:
    for n in LENGTHS:
        for step in STEPS:
            for lda in (step * n, step * n + 1, 1):  # one after the other, with gaps, one inside the other
                A = rows(dtype, m, n, step, lda)
                x = rows(dtype, 1, n, 1, n)[0]
                assert np.array_equal(matvec(A, x, backend="openmp", workers=1), A.copy() @ x), (n, step, lda)


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize("step", STEPS)
def test_neighbours_do_not_count(instruction_set: str, dtype: str, step: int) -> None:
    for n in LENGTHS:
        A = np.full((40, step * n + 1), np.nan, dtype)[:, : step * n : step]
        x = np.arange(1, n + 1).astype(dtype)
        A[1::3] = 1
        A[2::3] = np.inf
        y = matvec(A, x, backend="openmp", workers=1)
        assert np.isnan(y[0::3]).all()
        assert (y[1::3] == x.sum()).all()
        assert (y[2::3].real == np.inf).all() or np.dtype(dtype).kind == "c"


@pytest.mark.parametrize("dtype", [*DTYPES, "?", "B", "e"])
def test_dots_of_vectors_that_lie_apart(instruction_set: str, dtype: str) -> None:
    for n in LENGTHS:
        for step in (1, 2, 3, 7, -1, -2, -5):
            for other in (1, 2, 4, -3):
                x, y = (np.resize(np.arange(1, 8), n * abs(one)).astype(dtype)[::one] for one in (step, other))
                assert vecdot(x, y, backend="openmp", workers=1) == np.vecdot(x.copy(), y.copy()), (n, step, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 3, 16, 37, 70])
def test_columns_of_every_length(instruction_set: str, dtype: str, n: int) -> None:
    for m in LENGTHS:
        for lda in (m, m + 1, 1):
            A = rows(dtype, n, m, 1, lda).T
            x = rows(dtype, 1, n, 1, n)[0]
            assert np.array_equal(matvec(A, x, backend="openmp", workers=1), A.copy() @ x), (m, lda)
            assert np.array_equal(vecmat(x, A.T, backend="openmp", workers=1), A.copy() @ x.conj()), (m, lda)


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize("gap", [0, 1])
def test_neighbours_of_columns_do_not_count(instruction_set: str, dtype: str, gap: int) -> None:
    for m in LENGTHS:
        for special in {0, m // 2, m - 1}:
            A = np.full((40, m + gap), np.nan, dtype)[:, :m].T
            A[...] = np.arange(1, 41)
            A[special] = np.inf
            y = matvec(A, np.ones(40, dtype), backend="openmp", workers=1)
            assert not np.isfinite(y[special])
            assert (np.delete(y, special) == 820).all()


@pytest.mark.parametrize("dtype", "?bHiefdgF")
@pytest.mark.parametrize("vector", "FDG")
def test_other_dtypes_of_matrix_and_complex_vector(instruction_set: str, dtype: str, vector: str) -> None:
    rng = np.random.default_rng(0)
    for m, n in ((1, 1), (5, 3), (70, 2), (3, 4099), (2100, 5), (37, 70)):
        drawn = (rng.integers(0, 9, (m, 2 * n)) % (2 if dtype == "?" else 9)).astype(dtype)
        x = (rng.integers(-9, 9, 2 * n) + 1j * rng.integers(-9, 9, 2 * n)).astype(vector)
        for A in (
            drawn[:, :n],
            np.asfortranarray(drawn[:, :n]),
            drawn[::-1, ::-2],
            drawn[:, ::2].byteswap().view(drawn.dtype.newbyteorder()),
        ):
            for v in (x[:n], x[::-2]):
                expected = A.astype(np.clongdouble) @ v.astype(np.clongdouble)
                assert np.array_equal(matvec(A, v, backend="openmp", workers=1), expected), (A.shape, A.strides)
                assert np.array_equal(vecmat(v, A.T, backend="openmp", workers=1), A.astype(np.clongdouble) @ v.conj())


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", "?bfd")
def test_real_matrices_and_complex_vectors_that_are_not_finite(
    instruction_set: str, dtype: str, special: float
) -> None:
    """The imaginary part of an element of A is 0, and 0 times infinity is NaN, as where NumPy casts A."""
    for n in (1, 5, 40, 5000):
        A, x = np.ones((21, n), dtype), np.ones(n, complex)
        x.imag[n // 2] = special
        y = matvec(A, x, backend="openmp", workers=1)
        assert np.isnan(y.real).all()
        np.testing.assert_array_equal(y.imag, special)
        x.real, x.imag = x.imag.copy(), 1
        y = matvec(A, x, backend="openmp", workers=1)
        assert np.isnan(y.imag).all()
        np.testing.assert_array_equal(y.real, special)


PROGRAM = """
import ctypes, mmap
import numpy as np
from parlinalg import _kernels, matvec, psum
from test_rows import DTYPES, LENGTHS

PAGE = mmap.PAGESIZE
memory = mmap.mmap(-1, 40 * PAGE)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
for page in (0, 39):  # whoever reads there ends the process
    assert libc.mprotect(ctypes.c_void_p(start + page * PAGE), ctypes.c_size_t(PAGE), 0) == 0

def between_guards(shape, dtype, step, at_the_end):
    m, n = shape
    size = np.dtype(dtype).itemsize
    length = ((m - 1) * step * n + step * (n - 1) + 1) * size
    offset = 39 * PAGE - length if at_the_end else PAGE
    A = np.ndarray(shape, dtype, memory, offset, (step * n * size, step * size))
    A[...] = 1
    return A

for name in _kernels.available():
    _kernels.select(name)
    for dtype in DTYPES:
        for n in LENGTHS:
            for m in (1, 3, 17):
                for step in (1, 2, 3):
                    for at_the_end in (False, True):
                        A = between_guards((m, n), dtype, step, at_the_end)
                        assert psum(A, backend="openmp", workers=1) == m * n
                        x = np.ones(n, dtype)
                        assert (matvec(A, x, backend="openmp", workers=1) == np.array(n).astype(dtype)).all()
                        assert (matvec(A.T, np.ones(m, dtype), backend="openmp", workers=1) == m).all()
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect of Linux")
def test_nothing_is_read_outside_of_the_array() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parent,
        check=False,
    )
    assert (finished.returncode, finished.stdout.strip()) == (0, "done"), finished.stderr
