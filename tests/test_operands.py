"""What may be passed in, and what may be written into."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlinalg.operands import as_operand, as_where, check_out, may_overlap, real_view
from parlinalg.testing.strategies import LAYOUTS, SUM_DTYPES, lay_out

F64 = np.dtype(np.float64)


class Frame:
    """As pandas' DataFrame: no ndarray, but can be made one."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values if dtype is None else self.values.astype(dtype)


class Sparse:
    """As SciPy's sparse matrices."""

    shape = (2, 2)

    def tocsr(self) -> Sparse:
        return self


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", SUM_DTYPES, ids=str)
def test_an_array_is_taken_as_it_is(dtype: np.dtype, layout: str) -> None:
    a = lay_out(np.ones((3, 4), dtype), layout)
    assert as_operand("matvec", "A", a) is a


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([[1, 2], [3, 4]], np.int64),
        (((True, False),), np.bool_),
        ([[1.5], [2]], np.float64),
        ([[1j]], np.complex128),
        (range(3), np.int64),
        (3.5, np.float64),
        (np.float32(1), np.float32),
        (memoryview(b"ab"), np.uint8),
        (Frame([[1.0, 2.0]]), np.float64),
        (np.array([[1, 2]]).view(np.matrix), np.int64),
        (np.ma.masked_array([1.0, 2.0], mask=False), np.float64),
        (np.ma.masked_array([1.0, 2.0]), np.float64),
    ],
    ids=lambda value: type(value).__name__,
)
def test_array_likes(value: Any, dtype: type) -> None:
    taken = as_operand("matvec", "A", value)
    assert type(taken) is np.ndarray
    assert taken.dtype == dtype
    np.testing.assert_array_equal(taken, np.asarray(value))


def test_subclasses_are_not_copied() -> None:
    mapped = np.ones(3).view(np.recarray)
    assert np.shares_memory(as_operand("psum", "a", mapped), mapped)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (None, TypeError, "A is a NoneType; accepted are arrays"),
        ("abc", TypeError, "A is a str; accepted are arrays"),
        (b"abc", TypeError, "A is a bytes; accepted are arrays"),
        ({"a": 1}, TypeError, "A is a dict; accepted are arrays"),
        ({1, 2}, TypeError, "A is a set; accepted are arrays"),
        ((i for i in range(3)), TypeError, "A is a generator that becomes an object array; accepted are"),
        (object(), TypeError, "A is a object that becomes an object array; accepted are"),
        ([[1, 2], [3]], ValueError, "A cannot be made an array: "),
        (["a", "b"], TypeError, "A has dtype <U1; accepted are arrays"),
        ([None, 1], TypeError, "A is a list that becomes an object array; accepted are"),
        (np.array([1, 2], object), TypeError, "A has dtype object; accepted are arrays"),
        (np.array(["2020-01-01"], "M8[D]"), TypeError, "A has dtype datetime64[D]; accepted are arrays"),
        (np.array([1], "m8[s]"), TypeError, "A has dtype timedelta64[s]; accepted are arrays"),
        (np.zeros(2, [("x", "f8")]), TypeError, "A has dtype [('x', '<f8')]; accepted are arrays"),
        (np.array([b"ab"]), TypeError, "A has dtype |S2; accepted are arrays"),
        (np.ma.masked_array([1.0, 2.0], mask=[False, True]), TypeError, "A is a masked array with masked elements"),
        (Sparse(), TypeError, "A is a sparse Sparse; pass A.toarray()"),
    ],
    ids=lambda value: re.sub(r"\W+", "_", str(value))[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_refused(value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"^matvec: {re.escape(words)}"):
        as_operand("matvec", "A", value)


def test_a_scipy_matrix_is_refused() -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    for value in (scipy_sparse.eye(3), scipy_sparse.csr_array(np.eye(3))):
        with pytest.raises(TypeError, match=r"psum: a is a sparse .*; pass a\.toarray\(\)"):
            as_operand("psum", "a", value)


# out


def _frozen(a: np.ndarray) -> np.ndarray:
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("out", "error", "words"),
    [
        ([0.0] * 3, TypeError, "out is a list; it must be a numpy.ndarray"),
        (np.ma.zeros(3), TypeError, "out is a masked array; pass out.data"),
        (np.zeros(4), ValueError, "out has shape (4,); the result has shape (3,)"),
        (np.zeros((3, 1)), ValueError, "out has shape (3, 1); the result has shape (3,)"),
        (np.zeros(3, int), TypeError, "out has dtype int64; the result has dtype float64, which cannot be cast to it"),
        (np.zeros(3, object), TypeError, "out has dtype object; accepted are bool, integers, floats and complex"),
        (np.zeros(3, "U40"), TypeError, "out has dtype <U40; accepted are bool, integers, floats and complex"),
        (_frozen(np.zeros(3)), ValueError, "out is read-only"),
        (np.broadcast_to(np.zeros(1), (3,)), ValueError, "out is read-only"),
        (np.lib.stride_tricks.as_strided(np.zeros(1), (3,), (0,)), ValueError, "out has strides (0,)"),
        (np.lib.stride_tricks.as_strided(np.zeros(9), (3,), (4,)), ValueError, "out has strides (4,)"),
    ],
    ids=[
        "list",
        "masked",
        "shape",
        "column",
        "int",
        "object",
        "str",
        "read-only",
        "broadcast",
        "zero stride",
        "half stride",
    ],
)
def test_out_that_cannot_be_written(out: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match="^matvec: " + re.escape(words)):
        check_out("matvec", out, (3,), F64)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "read-only"])
@pytest.mark.parametrize("shape", [(), (3,), (0,), (3, 0), (1, 1), (2, 3, 4)])
def test_out_that_can_be_written(shape: tuple[int, ...], layout: str) -> None:
    for dtype in ("float64", "float32", "complex64"):
        check_out("matvec", lay_out(np.zeros(shape, dtype), layout), shape, F64)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    strides=st.lists(st.integers(-6, 6), min_size=3, max_size=3),
)
def test_out_that_overlaps_itself_is_always_found(shape: tuple[int, ...], strides: list[int]) -> None:
    memory = np.zeros(400, np.uint8)
    out = np.lib.stride_tricks.as_strided(memory[200:].view(np.uint8), shape, strides[: len(shape)])
    addresses = [sum(i * s for i, s in zip(index, out.strides, strict=True)) for index in np.ndindex(shape)]
    if len(set(addresses)) < len(addresses):
        with pytest.raises(ValueError, match="some of its elements share memory"):
            check_out("psum", out, shape, out.dtype)


def test_overlap() -> None:
    A = np.zeros((4, 4))
    assert may_overlap(A[:, 0], A)
    assert may_overlap(A[0], np.zeros(3), A[:, 1])
    assert not may_overlap(np.zeros(4), A)


# where, and complex numbers as pairs


def test_where() -> None:
    assert as_where("psum", True, (2, 3)) is None
    assert as_where("psum", [True, False, True], (2, 3)).tolist() == [[True, False, True]] * 2  # type: ignore[union-attr]
    assert as_where("psum", False, (2,)).tolist() == [False, False]  # type: ignore[union-attr]
    with pytest.raises(TypeError, match="^psum: where has dtype int64; it must be bool"):
        as_where("psum", [1, 0], (2,))
    with pytest.raises(ValueError, match=re.escape("psum: where has shape (3,), which does not broadcast to (2,)")):
        as_where("psum", [True] * 3, (2,))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_real_view_is_a_view_of_both_parts(layout: str) -> None:
    a = lay_out(np.arange(6).reshape(2, 3) * (1 + 2j), layout)
    for axis in range(3):
        parts = real_view(a, axis)
        assert np.shares_memory(parts, a)
        np.testing.assert_array_equal(parts.take(0, axis), a.real)
        np.testing.assert_array_equal(parts.take(1, axis), a.imag)
