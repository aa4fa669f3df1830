"""The public functions against NumPy: what they take, what they refuse, and what they return."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parlinalg
from parlinalg.testing.checks import require_close, require_same_bits, unchanged
from parlinalg.testing.oracle import exact_matvec, exact_sum
from parlinalg.testing.strategies import PRODUCT_DTYPES, SUM_DTYPES, Product, Sum, products, sums
from test_operands import Frame, Sparse

matvec: Any = parlinalg.matvec  # with arguments that no type checker lets through
psum: Any = parlinalg.psum

A, X = np.arange(12.0).reshape(3, 4), np.arange(4.0)


# What is refused: class, and a message that names the argument


@dataclass(frozen=True)
class Bad:
    call: Callable[[], Any]
    error: type[Exception]
    words: str

    def __str__(self) -> str:
        return re.sub(r"\W+", "-", self.words)[:50]


def frozen(a: np.ndarray) -> np.ndarray:
    a.flags.writeable = False
    return a


BAD = [
    Bad(lambda: matvec(A, np.ones(3)), ValueError, "x has shape (3,); A has shape (3, 4), so x must have (4,)"),
    Bad(
        lambda: matvec(A, np.ones((4, 1))), ValueError, "x has shape (4, 1); A has shape (3, 4), so x must have (4, 4)"
    ),
    Bad(lambda: matvec(X, X), ValueError, "A has shape (4,); it must have at least 2 dimensions"),
    Bad(lambda: matvec(3.0, X), ValueError, "A is a scalar; it must have at least 2 dimensions"),
    Bad(lambda: matvec(A, 3.0), ValueError, "x is a scalar; it must have at least 1 dimension"),
    Bad(lambda: matvec(np.ones((2, 3, 4)), np.ones((3, 4))), ValueError, "the leading dimensions of A (2, 3, 4) and x"),
    Bad(lambda: matvec([[1, 2], [3]], X), ValueError, "A cannot be made an array"),
    Bad(lambda: matvec(A, [[1, 2], [3]]), ValueError, "x cannot be made an array"),
    Bad(lambda: matvec("A", X), TypeError, "A is a str"),
    Bad(lambda: matvec(A, b"x"), TypeError, "x is a bytes"),
    Bad(lambda: matvec(None, X), TypeError, "A is a NoneType"),
    Bad(lambda: matvec(A, {1: 2}), TypeError, "x is a dict"),
    Bad(lambda: matvec(A, (i for i in range(4))), TypeError, "x is a generator that becomes an object array"),
    Bad(lambda: matvec(A.astype(object), X), TypeError, "A has dtype object"),
    Bad(lambda: matvec(A.astype("M8[s]"), X), TypeError, "A has dtype datetime64[s]"),
    Bad(lambda: matvec(A, np.zeros(4, [("x", "f8")])), TypeError, "x has dtype [('x', '<f8')]"),
    Bad(lambda: matvec(A, np.array(["a"] * 4)), TypeError, "x has dtype <U1"),
    Bad(lambda: matvec(np.ma.masked_equal(A, 3.0), X), TypeError, "A is a masked array with masked elements"),
    Bad(lambda: matvec(Sparse(), X), TypeError, "A is a sparse Sparse; pass A.toarray()"),
    Bad(lambda: matvec(A, X, dtype="O"), TypeError, "dtype=object is not numeric"),
    Bad(lambda: matvec(A, X, dtype="no such"), TypeError, "no such"),
    Bad(lambda: matvec(A, X, dtype=int), TypeError, "A has dtype float64, which cannot be cast to dtype=int64"),
    Bad(lambda: matvec(A.astype(int), X * 1j, dtype=float), TypeError, "x has dtype complex128, which cannot be cast"),
    Bad(lambda: matvec(A, X, out=np.ones(4)), ValueError, "out has shape (4,); the result has shape (3,)"),
    Bad(lambda: matvec(A, X, out=np.ones(3, int)), TypeError, "out has dtype int64; the result has dtype float64"),
    Bad(lambda: matvec(A, X, out=[0.0] * 3), TypeError, "out is a list; it must be a numpy.ndarray"),
    Bad(lambda: matvec(A, X, out=frozen(np.ones(3))), ValueError, "out is read-only"),
    Bad(lambda: matvec(A, X, out=np.ma.ones(3)), TypeError, "out is a masked array"),
    Bad(
        lambda: matvec(A, X, out=np.lib.stride_tricks.as_strided(np.ones(1), (3,), (0,))),
        ValueError,
        "out has strides (0,), with which some of its elements share memory",
    ),
    Bad(lambda: matvec(A, X, backend="opemp"), ValueError, "unknown backend 'opemp'; known: 'auto', 'numpy', 'openmp'"),
    Bad(lambda: matvec(A, X, backend=3), TypeError, "backend is 3; it must be a name, or an instance"),
    Bad(lambda: matvec(A, X, backend=parlinalg.backends), TypeError, "backend is <function backends"),
    Bad(lambda: matvec(A, X, workers=0), ValueError, "workers"),
    Bad(lambda: matvec(A, X, workers=-1000), ValueError, "workers"),
    Bad(lambda: matvec(A, X, workers=10**9), ValueError, "workers"),
    Bad(lambda: matvec(A, X, workers=2.0), TypeError, "workers"),
    Bad(lambda: matvec(A, X, workers="2"), TypeError, "workers"),
    Bad(lambda: matvec(A, X, workers="__import__('os').abort()"), TypeError, "workers"),
    Bad(lambda: matvec(A, X, workers=True), TypeError, "workers"),
    Bad(lambda: psum("abc"), TypeError, "a is a str"),
    Bad(lambda: psum(None), TypeError, "a is a NoneType"),
    Bad(lambda: psum([[1, 2], [3]]), ValueError, "a cannot be made an array"),
    Bad(lambda: psum(A.astype(object)), TypeError, "a has dtype object"),
    Bad(lambda: psum(np.array([1], "m8[s]")), TypeError, "a has dtype timedelta64[s]"),
    Bad(lambda: psum(np.ma.masked_equal(A, 3.0)), TypeError, "a is a masked array with masked elements"),
    Bad(lambda: psum(Sparse()), TypeError, "a is a sparse Sparse; pass a.toarray()"),
    Bad(lambda: psum(i for i in range(3)), TypeError, "a is a generator"),
    Bad(lambda: psum(A.astype(np.longdouble)), TypeError, "whose precision differs between platforms"),
    Bad(lambda: psum(A, dtype=np.longdouble), TypeError, "whose precision differs between platforms"),
    Bad(lambda: psum(A, axis=2), ValueError, "axis"),
    Bad(lambda: psum(A, axis=(0, 0)), ValueError, "axis=(0, 0) names an axis twice"),
    Bad(lambda: psum(A, axis=(0, -2)), ValueError, "axis=(0, -2) names an axis twice"),
    Bad(lambda: psum(A, axis=1.0), TypeError, "axis is 1.0; it must be None, an int or a tuple of ints"),
    Bad(lambda: psum(A, axis="0"), TypeError, "axis is '0'; it must be None, an int or a tuple of ints"),
    Bad(lambda: psum(A, dtype="O"), TypeError, "dtype=object is not numeric"),
    Bad(lambda: psum(A, out=np.ones(3)), ValueError, "out has shape (3,); the result has shape ()"),
    Bad(lambda: psum(A, axis=0, out=np.ones(4, int)), TypeError, "out has dtype int64; the result has dtype float64"),
    Bad(lambda: psum(A, out=3.0), TypeError, "out is a float; it must be a numpy.ndarray"),
    Bad(lambda: psum(A, initial=[1, 2]), ValueError, "initial has shape (2,); it must be a scalar"),
    Bad(lambda: psum(A, initial="1"), TypeError, "initial is a str"),
    Bad(lambda: psum(A, initial=None), TypeError, "initial is a NoneType"),
    Bad(lambda: psum(A, initial=1j), TypeError, "initial has dtype complex128, which cannot be cast to float64"),
    Bad(lambda: psum(A, where=[1, 0, 1, 1]), TypeError, "where has dtype int64; it must be bool"),
    Bad(lambda: psum(A, where=[True] * 3), ValueError, "where has shape (3,), which does not broadcast to (3, 4)"),
    Bad(lambda: psum(A, backend="opemp"), ValueError, "unknown backend 'opemp'"),
    Bad(lambda: psum(A, workers=0), ValueError, "workers"),
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_input_raises_and_names_the_argument(bad: Bad) -> None:
    with pytest.raises(bad.error, match=re.escape(bad.words)):
        bad.call()


def test_nothing_is_written_where_an_argument_is_bad() -> None:
    out = np.full(3, 7.0)
    with pytest.raises(ValueError, match="workers"):
        matvec(A, X, out=out, workers=0)
    assert out.tolist() == [7.0, 7.0, 7.0]


# As NumPy


@pytest.mark.parametrize("A_dtype", PRODUCT_DTYPES, ids=str)
@pytest.mark.parametrize("x_dtype", PRODUCT_DTYPES, ids=str)
def test_promotion_is_that_of_numpy(A_dtype: np.dtype, x_dtype: np.dtype) -> None:
    ones, x = np.array([[1, 0], [1, 1]], A_dtype), np.array([1, 1], x_dtype)
    y = matvec(ones, x)
    assert y.dtype == np.matvec(ones, x).dtype
    np.testing.assert_array_equal(y, np.matvec(ones, x))


@pytest.mark.parametrize("dtype", [None, *SUM_DTYPES], ids=str)
@pytest.mark.parametrize("given_", SUM_DTYPES, ids=str)
@pytest.mark.filterwarnings("ignore:Casting complex values:numpy.exceptions.ComplexWarning")
def test_psum_of_every_dtype_in_every_dtype(given_: np.dtype, dtype: np.dtype | None) -> None:
    a = np.array([[1, 0, 1], [1, 1, 1]], given_)
    require_same_bits(psum(a, axis=1, dtype=dtype), np.sum(a, axis=1, dtype=dtype))
    require_same_bits(psum(a, dtype=dtype), np.sum(a, dtype=dtype))


@given(p=products())
def test_matvec_without_a_backend(p: Product) -> None:
    with np.errstate(all="ignore"), unchanged(p.A, p.x):
        require_close(matvec(p.A, p.x), exact_matvec(p.A, p.x))


@given(s=sums())
def test_psum_without_a_backend(s: Sum) -> None:
    with np.errstate(all="ignore"), unchanged(s.a):
        require_same_bits(psum(s.a, s.axis, keepdims=s.keepdims), exact_sum(s.a, s.axis, keepdims=s.keepdims).value)


@given(s=sums(tuple(dtype for dtype in SUM_DTYPES if dtype.kind in "biu")))
def test_integer_sums_are_those_of_numpy(s: Sum) -> None:
    require_same_bits(psum(s.a, s.axis, keepdims=s.keepdims), np.sum(s.a, s.axis, keepdims=s.keepdims))


@pytest.mark.parametrize(
    "a", [3.5, 7, True, np.float32(2), np.array(3.0), np.array([3.0]), [[1, 2]], np.zeros((0, 3)), np.zeros((2, 0))]
)
def test_scalars_and_arrays_are_returned_as_by_numpy(a: Any) -> None:
    axes = [None, *range(-np.ndim(a), np.ndim(a)), ()]
    for axis in axes:
        for keepdims in (False, True):
            total, expected = psum(a, axis=axis, keepdims=keepdims), np.sum(a, axis=axis, keepdims=keepdims)
            assert type(total) is type(expected)
            require_same_bits(total, expected, (axis, keepdims))


@pytest.mark.parametrize("axis", [np.int8(1), np.array(1), (np.int64(1),), [1]], ids=repr)
def test_axis_may_be_whatever_is_an_integer(axis: Any) -> None:
    assert psum(A, axis=axis).tolist() == [6.0, 22.0, 38.0]


def test_arguments_are_those_of_numpy_by_position() -> None:
    out = np.empty((3, 1))
    assert psum(A, 1, np.float64, out, True, 100.0, X > 1) is out
    require_same_bits(out, np.sum(A, 1, np.float64, None, True, 100.0, X > 1))


def test_array_likes() -> None:
    expected = A @ X
    masked = np.ma.masked_array(A, mask=False)
    for likes in ((A.tolist(), X.tolist()), (Frame(A), Frame(X)), (masked, X), (A.view(np.matrix), X), (A, range(4))):
        y = matvec(*likes)
        assert type(y) is np.ndarray
        assert y.tolist() == expected.tolist()
        assert psum(likes[0]) == 66.0


def test_out_may_be_a_subclass_and_is_returned_as_it_is() -> None:
    out = np.zeros((3, 5))[:, 2].view(np.recarray)
    assert matvec(A, X, out) is out
    assert out.tolist() == (A @ X).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex128, ">f8"])
def test_out_of_another_dtype_takes_the_cast_result(dtype: Any) -> None:
    out = np.zeros(3, dtype)
    assert matvec(A, X, out=out) is out
    assert out.tolist() == (A @ X).tolist()
    total = np.zeros((), dtype)
    assert psum(A, out=total) is total
    assert total == 66


@given(n=st.integers(1, 20), seed=st.integers(0, 99))
def test_sums_may_be_written_over_their_addends(n: int, seed: int) -> None:
    a = np.random.default_rng(seed).standard_normal((n, n))
    for axis in (0, 1):
        b = a.copy()
        psum(b, axis=axis, out=b[n // 2])
        require_same_bits(b[n // 2], exact_sum(a, axis).value)


def test_where_and_initial() -> None:
    a = np.array([[1.0, np.nan], [np.inf, 4.0]])
    where = np.array([[True, False], [False, True]])
    require_same_bits(psum(a, axis=0, where=where, initial=-0.5), np.array([0.5, 3.5]))
    require_same_bits(psum(a, where=False), np.float64(0.0))
    require_same_bits(psum(a, where=where[:, :1] & False, initial=-1.0), np.float64(-1.0))
    require_same_bits(psum([], initial=2.5), np.float64(2.5))
    require_same_bits(psum(np.array([1, 2], np.int8), initial=3), np.int64(6))
    require_same_bits(psum([1j], initial=2), np.complex128(2 + 1j))


def test_a_lost_addend_is_not_lost() -> None:
    assert psum([1e308, 1e308, -1e308]) == 1e308
    assert psum([1.0, 1e100, 1.0, -1e100]) == 2.0
    assert psum([0.1] * 10) == 1.0
    assert psum([1.0], initial=1e-300) == 1.0
    assert psum([1e100, -1e100], initial=1e-300) == 1e-300


# Warnings


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize(("kind", "word"), [("over", "overflow encountered"), ("invalid", "invalid value encountered")])
def test_psum_reports_as_errstate_says(backend: str, dtype: type, kind: Any, word: str) -> None:
    largest = np.finfo(dtype).max
    a: Any = np.array([largest, largest] if kind == "over" else [np.inf, -np.inf], dtype)
    errstate: Any = np.errstate
    with errstate(all="ignore", **{kind: "raise"}), pytest.raises(FloatingPointError, match=word):
        psum(a, backend=backend)
    with errstate(all="ignore", **{kind: "warn"}), pytest.warns(RuntimeWarning, match=word):
        psum(a, backend=backend)
    with errstate(all="raise", **{kind: "ignore"}), warnings.catch_warnings():
        warnings.simplefilter("error")
        total = psum(a, backend=backend)
    require_same_bits(total, exact_sum(a).value)


def test_psum_does_not_report_what_cancels(backend: str) -> None:
    with np.errstate(all="raise"):
        assert psum([1e308, 1e308, -1e308], backend=backend) == 1e308
        assert np.isnan(psum([np.nan, np.inf, -np.inf], backend=backend))
        assert psum([5e-324, 5e-324], backend=backend) == 1e-323


# explain


def test_explain_takes_and_refuses_what_matvec_does() -> None:
    choice = parlinalg.explain(A.tolist(), X, backend="numpy")
    assert str(choice).splitlines()[0] == "numpy, 1 worker: asked for"
    with pytest.raises(ValueError, match=re.escape("x has shape (3,)")):
        parlinalg.explain(A, np.ones(3))


def test_public_names_exist() -> None:
    assert sorted(parlinalg.__all__) == list(parlinalg.__all__)
    assert all(hasattr(parlinalg, name) for name in parlinalg.__all__)
