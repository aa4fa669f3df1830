"""The compiled short cut of small products gives what the general way gives, and steps aside when it must."""

from __future__ import annotations

import contextvars
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parlinalg
from parlinalg import matvec, psum, set_backend, vecdot, vecmat
from parlinalg.backends import NumPy
from parlinalg.testing.checks import require_close, require_same_bits, unchanged
from parlinalg.testing.oracle import exact_matvec
from parlinalg.testing.strategies import (
    PRODUCT_DTYPES,
    Product,
    garbage,
    lay_out,
    products,
    special,
)

general = matvec.__wrapped__  # type: ignore[attr-defined]


def test_the_general_way_is_another_function() -> None:
    assert general is not matvec
    assert general.__name__ == matvec.__name__ == "matvec"
    assert matvec.__doc__ == general.__doc__


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (7, 5), (48, 48), (0, 3), (3, 0)])
def test_small_plain_products_take_the_short_cut(entered: list[str], shape: tuple[int, int], dtype: str) -> None:
    A, x = np.ones(shape, dtype), np.ones(shape[1], dtype)
    y = matvec(A, x)
    assert entered == []
    require_same_bits(y, general(A, x))
    assert entered == ["general"]


@given(p=products())
def test_the_bits_are_those_of_the_general_way(p: Product) -> None:
    with np.errstate(all="ignore"), unchanged(p.A, p.x):
        y = matvec(p.A, p.x)
        require_same_bits(y, general(p.A, p.x))
    require_close(y, exact_matvec(p.A, p.x))


@given(p=products(values=(special,)))
def test_the_bits_of_infinities_and_nan_are_those_of_the_general_way(p: Product) -> None:
    with np.errstate(all="ignore"):
        y, expected = matvec(p.A, p.x), general(p.A, p.x)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 64, 130, 257])
def test_square_sizes(n: int, dtype: np.dtype) -> None:
    rng = np.random.default_rng(n)
    A, x = (rng.integers(0, 2, shape).astype(dtype) for shape in ((n, n), (n,)))
    require_same_bits(matvec(A, x), general(A, x))
    require_close(matvec(A, x), exact_matvec(A, x))


def test_the_result_is_new_each_time() -> None:
    A, x = np.eye(4), np.arange(4.0)
    first, second = matvec(A, x), matvec(A, x)
    assert first is not second
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, x)
    first[:] = 7
    assert second.tolist() == x.tolist()


@given(n=st.integers(1, 40), dtype=st.sampled_from(PRODUCT_DTYPES))
def test_memory_that_was_used_before_does_not_leak_in(n: int, dtype: np.dtype) -> None:
    A, x = np.zeros((n, n), dtype), np.zeros(n, dtype)
    for _ in range(3):
        used = [garbage((n,), dtype) for _ in range(4)]
        del used  # NumPy gives the same memory out again
        assert not matvec(A, x).any()


# When it must step aside


@pytest.mark.parametrize("n", [200, 700, 2500])
@pytest.mark.parametrize("dtype", ["f8", "c8", "i4", "?"])
def test_large_plain_products_take_the_short_cut_too(entered: list[str], n: int, dtype: str) -> None:
    A, x = np.ones((n, n), dtype), np.ones(n, dtype)
    for matrix in (A, A.T, A[::-1]):
        require_same_bits(matvec(matrix, x), np.full(n, n if dtype != "?" else 1, dtype))
    assert entered == []


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES)
@pytest.mark.parametrize("n", [0, 1, 7, 500, 3000, 70_000])
def test_dot_products_of_any_length(dtype: np.dtype, n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = ((4 * rng.standard_normal((2, n))).astype(dtype) for _ in range(2))
    if dtype.kind == "c":
        x = x * dtype.type(1 + 2j)
    x = x.astype(dtype)
    for one, other in ((x[0], y[0]), (x[0, ::-1], y[1, ::-1]), (x[0, ::2], y[0, ::2])):
        with np.errstate(all="ignore"):
            found = vecdot(one, other)
        assert np.shape(found) == ()
        assert np.asarray(found).dtype == dtype.newbyteorder("=")
        require_close(np.asarray(found).reshape(1), exact_matvec(other[np.newaxis], one.conj()))


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 33, 70])
def test_narrow_matrices_in_any_layout(dtype: np.dtype, n: int) -> None:
    rng = np.random.default_rng(n)
    drawn = rng.integers(-3 if dtype.kind in "ifc" else 0, 4, (2, 600, 2 * n))  # sums of which are exact in any dtype
    whole = (drawn[0] + 1j * drawn[1] if dtype.kind == "c" else drawn[0] if dtype.kind != "b" else drawn[0] > 2).astype(
        dtype
    )
    swapped = whole.byteswap().view(dtype.newbyteorder())
    for A in (
        whole[:, :n],
        whole[::2, ::2],
        whole[::-1, n - 1 :: -1],
        swapped[:, :n],
        np.asfortranarray(whole[:, ::2]),
    ):
        for matrix, x in ((A, whole[3, : A.shape[1]]), (A.T, whole[: len(A), 0]), (A[:, ::-1], whole[4, n::-1][:n])):
            expected = np.matvec(matrix, x)
            for found in (matvec(matrix, x), general(matrix, x, backend="openmp", workers=2)):
                np.testing.assert_array_equal(found, expected)
                assert found.dtype == dtype


@pytest.mark.parametrize("backend", [None, "openmp"])
@pytest.mark.parametrize("true", [0, 16_383, 16_384, 49_999, None])
def test_dot_products_of_bool_end_at_the_first_true(true: int | None, backend: str | None) -> None:
    x = np.zeros(50_000, bool)
    if true is not None:
        x[true] = True
    assert vecdot(x, np.ones(50_000, bool), backend=backend) == (true is not None)
    A = np.zeros((3, 50_000), bool)
    A[1] = x
    assert matvec(A, x, backend=backend).tolist() == [False, true is not None, False]


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("n", [10, 10_000])
def test_plain_products_report_nothing(n: int, dtype: str) -> None:
    x = np.full(n, np.finfo(dtype).max, dtype)
    A = np.resize(x, (200, n))
    with np.errstate(all="raise"):
        assert vecdot(x, x).real == np.inf
        for matrix in (A, np.asfortranarray(A)):
            assert set(matvec(matrix, x).real) == {np.inf}


@given(p=products())
def test_vector_matrix_products_are_those_of_the_general_way(p: Product) -> None:
    if p.A.ndim == 2 and p.x.ndim == 1:
        with np.errstate(all="ignore"):
            A = p.A.T
            require_same_bits(vecmat(p.x, A), vecmat.__wrapped__(p.x, A))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "options", [{"exact": True}, {"backend": "auto"}, {"workers": True}, {"workers": -1}], ids=repr
)
def test_whatever_else_is_said_goes_the_general_way(entered: list[str], options: dict[str, Any]) -> None:
    if options.get("workers") is True:
        with pytest.raises(TypeError, match="workers is True"):
            matvec(np.ones((3, 3)), np.ones(3), **options)
    else:
        matvec(np.ones((3, 3)), np.ones(3), **options)
    assert entered == ["general"]


@pytest.mark.parametrize(
    ("A", "x"),
    [
        (((1.0, 2.0),), (3.0, 4.0)),
        (np.ones((3, 3)).view(np.matrix), np.ones(3)),
        (np.ma.masked_array(np.ones((3, 3))), np.ones(3)),
    ],
    ids=["tuples", "matrix", "masked"],
)
def test_other_operands_go_the_general_way(entered: list[str], A: Any, x: Any) -> None:
    require_same_bits(matvec(A, x), np.matvec(np.asarray(A), np.asarray(x)))
    assert entered == ["general"]


def test_lists_take_the_short_cut(entered: list[str]) -> None:
    A, x = [[1.0, 2.5], [3.0, 4.0]], [1.5, 2.0]
    require_same_bits(matvec(A, x), np.matvec(A, x))
    require_same_bits(vecmat(x, A), np.vecmat(x, A))
    require_same_bits(vecdot(A, x), np.vecdot(A, x))
    require_same_bits(psum(A, 0), np.sum(A, 0))
    assert entered == []


@pytest.mark.parametrize("A", [[[1, 2], [3]], [["a"]], [[None]], [np.ma.masked_array([1.0], [True])]])
def test_lists_that_are_no_arrays(A: Any) -> None:
    for call in (lambda: matvec(A, [1]), lambda: vecmat([1], A), lambda: vecdot(A, [1]), lambda: psum(A)):
        with pytest.raises(
            (TypeError, ValueError), match=r"(matvec|vecmat|vecdot|psum): ([Axya]) (cannot|holds|is|has)"
        ):
            call()


@pytest.mark.parametrize("layout", ["sliced", "unaligned", "byte-swapped", "flipped", "read-only", "Fortran"])
def test_layouts(layout: str) -> None:
    A, x = np.arange(12.0).reshape(3, 4), np.arange(4.0)
    for left, right in ((lay_out(A, layout), x), (A, lay_out(x, layout)), (lay_out(A, layout), lay_out(x, layout))):
        y = matvec(left, right)
        assert y.dtype.isnative
        require_same_bits(y, general(left, right))
        assert y.tolist() == (A @ x).tolist()


@pytest.mark.parametrize(
    ("A", "x"),
    [
        (np.ones((3, 4)), np.ones(3)),
        (np.ones(3), np.ones(3)),
        (np.ones((3, 3)), np.ones(())),
        (np.ones((3, 3)), np.ones((3, 1))),
        (np.ones((3, 3), object), np.ones(3, object)),
        (np.ones((3, 3), "M8[s]"), np.ones(3, "M8[s]")),
        (np.ones((3, 3), "m8[s]"), np.ones(3, "m8[s]")),
        (np.ones((3, 3), "U1"), np.ones(3, "U1")),
        (np.ones((3, 3), "V8"), np.ones(3, "V8")),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_errors_are_those_of_the_general_way(A: np.ndarray, x: np.ndarray) -> None:
    with pytest.raises((TypeError, ValueError)) as expected:
        general(A, x)
    with pytest.raises(expected.type, match=f"^{re.escape(str(expected.value))}$"):
        matvec(A, x)


@pytest.mark.parametrize(
    ("function", "shapes", "dtype"),
    [
        (vecdot, ((2, 10), (2, 11)), "f8"),
        (vecdot, ((2, 10), (3, 10)), "f8"),
        (vecdot, ((2, 5), (2, 6)), "c8"),
        (vecdot, ((400, 10), (3, 10)), "i4"),
        (vecmat, ((), (2, 2)), "c16"),
        (vecmat, ((), (2, 2)), "f8"),
        (vecmat, ((2,), ()), "c16"),
        (vecmat, ((3,), (2, 2)), "c16"),
    ],
)
def test_shapes_that_do_not_fit_are_named(function: Any, shapes: tuple[Any, Any], dtype: str) -> None:
    with pytest.raises(ValueError, match=rf"^{function.__name__}: .*(is a scalar|has shape|do not broadcast)"):
        function(*(np.ones(shape, dtype) for shape in shapes))


def test_wrong_calls_are_type_errors() -> None:
    function: Any = matvec
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        ((np.eye(2),), {}),
        ((), {"A": np.eye(2), "x": np.ones(2)}),
        ((np.eye(2), np.ones(2), None, float), {}),
        ((np.eye(2), np.ones(2)), {"axis": 0}),
    ]
    for arguments, options in calls:
        with pytest.raises(TypeError, match="argument"):
            function(*arguments, **options)


# What was chosen elsewhere


class Refusing(NumPy):
    name = "refusing"

    def refuses(self, plan: Any) -> str | None:
        return "it takes nothing"


def test_set_backend_is_respected(entered: list[str]) -> None:
    A, x = np.ones((3, 3)), np.ones(3)
    with set_backend(Refusing()):
        with pytest.raises(parlinalg.BackendUnavailable, match="it takes nothing"):
            matvec(A, x)
        with set_backend("numpy"):
            matvec(A, x)
        with pytest.raises(parlinalg.BackendUnavailable, match="it takes nothing"):
            matvec(A, x)
    assert len(entered) == 3
    matvec(A, x)
    assert len(entered) == 3, "the short cut is not taken again after the block"


def test_set_backend_that_fails_leaves_the_short_cut(entered: list[str]) -> None:
    for arguments in (("no such",), ("toy-absent",), (3,), ("numpy", 2)):
        with pytest.raises((ValueError, TypeError, parlinalg.BackendUnavailable)):
            set_backend(*arguments)
    matvec(np.ones((3, 3)), np.ones(3))
    assert entered == []


def test_set_backend_as_a_function_is_respected(entered: list[str]) -> None:
    def body() -> None:
        set_backend(Refusing())
        with pytest.raises(parlinalg.BackendUnavailable, match="it takes nothing"):
            matvec(np.ones((3, 3)), np.ones(3))

    contextvars.Context().run(body)


@pytest.mark.parametrize("name", ["PARLINALG_BACKEND", "PARLINALG_WORKERS"])
def test_the_environment_is_respected(entered: list[str], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    A, x = np.ones((3, 3)), np.ones(3)
    monkeypatch.setenv(name, "numpy" if name == "PARLINALG_BACKEND" else "1")
    matvec(A, x)
    assert entered == ["general"]
    monkeypatch.setenv(name, "nonsense")
    if name == "PARLINALG_BACKEND":
        with pytest.raises(ValueError, match="unknown backend 'nonsense'"):
            matvec(A, x)
    monkeypatch.delenv(name)
    del entered[:]
    matvec(A, x)
    assert entered == []


@pytest.mark.parametrize("n", [129, 500, 60000])
def test_dots_of_bool_that_end_late_or_never(n: int) -> None:
    x, y = np.ones((5, n), bool), np.zeros((5, n), bool)
    y[0, 0] = y[1, 127] = y[2, 128] = y[3, -1] = True
    for a, b in ((x, y), (y, x), (x[:, ::-1], y[:, ::-1]), (x[0], y)):
        require_same_bits(vecdot(a, b), np.array([True, True, True, True, False]))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 8, 9])
@pytest.mark.parametrize("n", [7, 8, 9, 17, 33, 40, 129, 1200])
def test_rows_of_bool_with_one_true(n: int, step: int) -> None:
    x = np.ones(n, bool)
    A = np.ones((n + 1, n * step), bool)[:, ::step]  # what lies between is true
    A[...] = np.eye(n + 1, n, dtype=bool)
    assert matvec(A, x, backend="openmp").tolist() == [True] * n + [False]
    x[n // 2] = False
    assert matvec(A, x, backend="openmp").nonzero()[0].tolist() == [k for k in range(n) if k != n // 2]
