"""The plan follows NumPy's rules, for every pair of dtypes and any shapes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from parlinalg.plan import plan_matvec, plan_sum
from parlinalg.testing.strategies import PRODUCT_DTYPES, SUM_DTYPES

Shape = tuple[int, ...]
F64 = np.dtype(np.float64)


@pytest.mark.parametrize("A", PRODUCT_DTYPES, ids=str)
@pytest.mark.parametrize("x", PRODUCT_DTYPES, ids=str)
def test_dtype_is_the_one_of_numpy(A: np.dtype, x: np.dtype) -> None:
    expected = np.matvec(np.ones((1, 1), A), np.ones(1, x)).dtype
    assert plan_matvec((1, 1), A, (1,), x).dtype == expected
    assert plan_matvec((1, 1), A.newbyteorder(), (1,), x.newbyteorder()).dtype.isnative


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES, ids=str)
def test_dtype_asked_for_is_cast_to_as_numpy_does(dtype: np.dtype) -> None:
    for A, x in itertools.product(PRODUCT_DTYPES, repeat=2):
        try:
            expected = np.matvec(np.ones((1, 1), A), np.ones(1, x), dtype=dtype).dtype
        except TypeError:
            with pytest.raises(TypeError, match=f"cannot be cast to dtype={dtype} by the rule 'same_kind'"):
                plan_matvec((1, 1), A, (1,), x, dtype)
        else:
            assert plan_matvec((1, 1), A, (1,), x, dtype).dtype == expected


def test_casts_only_where_the_dtype_holds_less() -> None:
    i64, f32 = np.dtype(np.int64), np.dtype(np.float32)
    assert plan_matvec((2, 2), f32, (2,), F64).casts == (False, False)
    assert plan_matvec((2, 2), F64, (2,), f32, f32).casts == (True, False)
    assert plan_matvec((2, 2), i64, (2,), F64, f32).casts == (True, True)


@given(mutually_broadcastable_shapes(signature="(m,n),(n)->(m)", min_side=0, max_side=4, max_dims=3))
def test_shape_is_the_one_of_numpy(shapes: object) -> None:
    A, x = shapes.input_shapes  # type: ignore[attr-defined]
    plan = plan_matvec(A, F64, x, F64)
    assert plan.shape == np.matvec(np.ones(A), np.ones(x)).shape == shapes.result_shape  # type: ignore[attr-defined]
    assert plan.elements == int(np.prod(plan.shape)) * A[-1]


@given(A=st.lists(st.integers(0, 3), max_size=4).map(tuple), x=st.lists(st.integers(0, 3), max_size=3).map(tuple))
def test_shapes_that_numpy_refuses_are_refused(A: Shape, x: Shape) -> None:
    try:
        expected = np.matvec(np.ones(A), np.ones(x)).shape
    except ValueError:
        with pytest.raises(ValueError, match="^matvec: "):
            plan_matvec(A, F64, x, F64)
    else:
        assert plan_matvec(A, F64, x, F64).shape == expected


@pytest.mark.parametrize("dtype", SUM_DTYPES, ids=str)
def test_sum_dtype_is_the_one_of_numpy(dtype: np.dtype) -> None:
    assert plan_sum((3,), dtype).dtype == np.sum(np.ones(3, dtype)).dtype
    assert plan_sum((3,), dtype.newbyteorder()).dtype.isnative


@given(data=st.data(), shape=st.lists(st.integers(0, 4), max_size=4).map(tuple), keepdims=st.booleans())
def test_sum_shape_is_the_one_of_numpy(data: st.DataObject, shape: Shape, keepdims: bool) -> None:
    axis = data.draw(st.none() | st.integers(-5, 4) | st.lists(st.integers(-4, 3), max_size=3).map(tuple))
    try:
        expected = np.sum(np.ones(shape), axis=axis, keepdims=keepdims).shape
    except ValueError as error:
        with pytest.raises(type(error), match="axis"):
            plan_sum(shape, F64, axis, None, keepdims)
    else:
        plan = plan_sum(shape, F64, axis, None, keepdims)
        assert plan.shape == expected
        assert sorted(plan.order) == list(range(len(shape)))
        assert plan.elements == int(np.prod(shape))


@pytest.mark.parametrize("dtype", ["longdouble", "clongdouble"])
def test_sum_of_longdouble_is_refused(dtype: str) -> None:
    with pytest.raises(TypeError, match=r"^psum: a is .*, whose precision differs between platforms"):
        plan_sum((3,), np.dtype(dtype))
    with pytest.raises(TypeError, match=r"^psum: dtype is .*, whose precision differs between platforms"):
        plan_sum((3,), F64, dtype=np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "M8[s]", "m8[s]", "V4"])
def test_dtypes_that_are_not_numeric_are_refused(dtype: str) -> None:
    with pytest.raises(TypeError, match="is not numeric; accepted are bool, integers, floats and complex"):
        plan_matvec((2, 2), F64, (2,), F64, np.dtype(dtype))
    with pytest.raises(TypeError, match="is not numeric; accepted are bool, integers, floats and complex"):
        plan_sum((2,), F64, None, np.dtype(dtype))


def test_elements_are_cast_only_where_that_changes_them() -> None:
    i8, f32 = np.dtype(np.int8), np.dtype(np.float32)
    assert plan_sum((3,), i8).cast is None
    assert plan_sum((3,), f32, dtype=F64).cast is None
    assert plan_sum((3,), F64, dtype=f32).cast == f32
    assert plan_sum((3,), i8, dtype=F64).cast == F64
    assert plan_sum((3,), i8, dtype=np.dtype(bool)).cast == np.dtype(bool)


def test_a_plan_is_made_once() -> None:
    assert plan_matvec((5, 7), F64, (7,), F64) is plan_matvec((5, 7), F64, (7,), F64)
    assert plan_sum((5, 7), F64, 1) is plan_sum((5, 7), F64, 1)
