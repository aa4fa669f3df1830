"""The compiled short cut of calls that say where the result goes, or who computes it, and of batches."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlinalg import matvec, operator, vecdot, vecmat
from parlinalg.testing.checks import require_close, require_same_bits, unchanged
from parlinalg.testing.oracle import exact_matvec, same_bits
from parlinalg.testing.strategies import PRODUCT_DTYPES, Product, products

general = matvec.__wrapped__  # type: ignore[attr-defined]

OPTIONS: list[dict[str, Any]] = [
    {},
    {"backend": "openmp"},
    {"backend": "numpy"},
    {"workers": 1},
    {"workers": 3},
    {"backend": "openmp", "workers": 2},
]


@given(p=products(), options=st.sampled_from(OPTIONS))
def test_so_are_those_of_calls_that_say_who_and_where(p: Product, options: dict[str, Any]) -> None:
    with np.errstate(all="ignore"), unchanged(p.A, p.x):
        expected = general(p.A, p.x, **options)
        require_same_bits(matvec(p.A, p.x, **options), expected)
        out = np.empty(expected.shape, expected.dtype)
        assert matvec(p.A, p.x, out, **options) is out
        require_same_bits(out, expected)


@given(p=products(), dtype=st.sampled_from(["?", "i4", ">f4", float, "c8", np.complex128, "e", "g", "S3", "nothing"]))
def test_so_are_those_of_calls_that_say_a_dtype(p: Product, dtype: Any) -> None:
    calls = [(matvec, (p.A, p.x))]
    if p.x.ndim == 1:
        calls.append((vecmat, (p.x, p.A.mT)))
    for function, operands in calls:
        with np.errstate(all="ignore"), unchanged(p.A, p.x), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = function.__wrapped__(*operands, dtype=dtype)  # type: ignore[attr-defined]
            except (TypeError, ValueError) as error:
                with pytest.raises(type(error), match=re.escape(str(error))):
                    function(*operands, dtype=dtype)
                return
            product, cast_A, cast_x = function(*operands, dtype=dtype), p.A.astype(dtype), p.x.astype(dtype)
        assert type(product) is type(expected)
        assert product.dtype == expected.dtype
        if not same_bits(product, expected):  # which may depend on how the copies lie
            assert np.isfinite(cast_A).all()
            assert np.isfinite(cast_x).all()
            conjugate = cast_x.conj() if function is vecmat else cast_x
            require_close(product, exact_matvec(cast_A, conjugate, product.dtype))


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 3, 40])
def test_rows_of_many_matrices_and_vectors(entered: list[str], dtype: np.dtype, n: int) -> None:
    rng = np.random.default_rng(n)
    many = rng.integers(0, 4, (4, 3, 5, n)).astype(dtype)
    x = many[0, 0, 0]
    for A in (many, many[::-1, ::-1, ::-1], many[:, :, ::2], many.transpose(2, 0, 1, 3), many[..., ::-1]):
        expected = (A * x).sum(-1, dtype=dtype) if dtype.kind != "b" else (A & x).any(-1)
        assert np.array_equal(matvec(A, x), expected)
        assert np.array_equal(vecdot(A, x), expected)
        assert np.array_equal(vecdot(x, A), expected)
    assert entered == [] or dtype.char in "gG"


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES, ids=str)
@pytest.mark.parametrize("n", [0, 1, 3, 17, 40, 130])
def test_dot_products_of_many_vectors(dtype: np.dtype, n: int, instruction_set: str) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.integers(0, 4, (2, 3, 600, n)).astype(dtype)
    if dtype.kind == "c":
        a += (1j * rng.integers(0, 4, a.shape)).astype(dtype)
    wide = a.astype(np.result_type(dtype, np.float32) if dtype.kind == "f" else dtype)
    apart = np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, 0)), 0, 1)  # whose axes cannot be merged
    pairs = ((a, b), (a[:, ::-1, ::-1], b), (a[..., ::-1], b[::-1]), (a[:, ::2], b[:, ::-2]), (a[0], b), (wide, b))
    for x, y in (*pairs, (apart, b[:1])):
        expected = (x.conj() * y).sum(-1, dtype=np.result_type(x, y)) if dtype.kind != "b" else (x & y).any(-1)
        for options in OPTIONS:
            assert np.array_equal(vecdot(x, y, **options), expected), options


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES, ids=str)
@pytest.mark.parametrize("columns", [1, 2, 7])
def test_operators_of_all_dtypes_take_columns(monkeypatch: pytest.MonkeyPatch, dtype: np.dtype, columns: int) -> None:
    A, X = (np.arange(n).reshape(5, -1).astype(dtype) for n in (40, 8 * columns * 5))
    X = X.reshape(-1, columns)[:8]
    with operator(A, backend="openmp") as op:
        assert np.array_equal(op.matmat([[0]] * 8), np.zeros((5, 1)))
        monkeypatch.setattr(type(op), "multiply_any", None)
        for matrix in (X, np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]):
            assert np.array_equal(op @ matrix, A @ matrix)
            assert (op @ matrix).dtype == dtype


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
@pytest.mark.parametrize("n", [3, 200])
def test_threads_and_numpy_may_be_asked_for(entered: list[str], options: dict[str, Any], n: int) -> None:
    batch = np.random.default_rng(n).standard_normal((2, n, n))
    A, x, out = batch[0], batch[1, 0], np.empty(n)
    matvec(batch, x, **options)
    matvec(A, x, out, **options)
    matvec(batch, x, np.empty((2, n)), **options)
    vecmat(x, batch, **options)
    if options != {"backend": "numpy"}:
        vecdot(x, x, **options)
        vecdot(A, x, **options)
    assert entered == []


@given(data=st.data(), dtype=st.sampled_from(PRODUCT_DTYPES), n=st.integers(0, 6))
def test_out_may_lie_anywhere(data: st.DataObject, dtype: np.dtype, n: int) -> None:
    memory = np.arange(200).astype(dtype)
    first, step = data.draw(st.integers(0, 40)), data.draw(st.sampled_from([-2, -1, 1, 2, 7]))
    A, x = memory[30 : 30 + n * n].reshape(n, n), memory[70 : 70 + n]
    out = np.lib.stride_tricks.as_strided(memory[first + 50 :], (n,), (step * dtype.itemsize,))
    expected = general(A.copy(), x.copy())
    assert matvec(A, x, out) is out
    require_same_bits(out.copy(), expected)


@pytest.mark.parametrize("place", ["x", "row", "column", "flipped", "between"])
def test_out_may_be_an_operand(place: str) -> None:
    memory = np.random.default_rng(0).standard_normal((9, 18))
    A, x = memory[:8, :16:2], memory[8, :8]
    out = {"x": x, "row": A[3], "column": A[:, 2], "flipped": A[::-1, 7], "between": memory[:8, 5]}[place]
    expected = A.copy() @ x.copy()
    assert matvec(A, x, out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "dtypes", [("c8", "c8"), ("c8", "c16"), ("c16", "f8"), ("f4", "c8"), ("i4", "i8"), ("?", "f2")]
)
@pytest.mark.parametrize("shapes", [((5, 3), (5, 3)), ((40, 70), (40, 70)), ((70,), (3, 70)), ((2, 1, 9), (4, 9))])
def test_dot_products_of_batches(dtypes: tuple[str, str], shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    rng = np.random.default_rng(1)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x, y = (
            (rng.integers(0, 4, s) + 1j * rng.integers(0, 4, s)).astype(d) for d, s in zip(dtypes, shapes, strict=True)
        )
    for backend in (None, "openmp"):
        require_same_bits(vecdot(x, y, backend=backend), np.vecdot(x, y))  # sums of small integers
        require_same_bits(vecmat(x, np.stack([y, y], -1), backend=backend), np.vecmat(x, np.stack([y, y], -1)))


@pytest.mark.parametrize("dtype", "fdFDhle")
@pytest.mark.parametrize("n", [1, 9, 300, 3000, 30000, 200000])
def test_dot_products_of_vectors_in_either_direction(dtype: str, n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = (rng.integers(-1, 2, 3 * n).astype(dtype) for _ in range(2))
    if np.dtype(dtype).kind == "c":
        x, y = x + 1j * x[::-1], y - 1j * y[::-1]
    steps = (1, -1, 2, -2, 3, -3)
    ways: tuple[dict[str, Any], ...] = ({}, {"backend": "openmp", "workers": 2})
    for one in steps:
        for other in steps:
            a, b = x[::one][:n], y[::other][:n]
            for options in ways:
                require_same_bits(vecdot(a, b, **options), np.vecdot(a, b), (one, other, options))  # small integers


@pytest.mark.parametrize("n", [3, 20, 200])
def test_all_bytes_but_zero_are_true(n: int, instruction_set: str) -> None:
    x, y = (np.full((2, 9, n), byte, np.uint8).view(bool) for byte in (2, 1))
    assert vecdot(x, y).all()
    assert vecdot(x, y[0, 0]).all()
    assert matvec(x, y[0, 0]).all()
    assert vecmat(x[0, :, 0], y).all()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty(4), r"out has shape \(4,\)"),
        (np.empty((3, 1)), r"out has shape \(3, 1\)"),
        (np.empty(3, np.int64), "out has dtype int64"),
        (np.broadcast_to(np.empty(1), 3), "out is read-only"),
        (np.lib.stride_tricks.as_strided(np.empty(1), (3,), (0,)), "some of its elements share memory"),
    ],
)
def test_out_must_take_the_result(out: np.ndarray, message: str) -> None:
    for backend in (None, "openmp", "numpy"):
        with pytest.raises((TypeError, ValueError), match=message):
            matvec(np.ones((3, 3)), np.ones(3), out, backend=backend)


def test_numpy_reports_where_it_is_asked_for() -> None:
    big = np.full((3, 3), 1e308)
    with np.errstate(over="raise"):
        assert matvec(big, big[0]).tolist() == [np.inf] * 3
        with pytest.raises(FloatingPointError):
            matvec(big, big[0], backend="numpy")


@pytest.mark.parametrize("dtype", ["F", "D", "G"])
@pytest.mark.parametrize("n", [1, 2, 5, 31, 1500, 40_000])
def test_dots_of_complex_numbers_however_they_lie(dtype: str, n: int, instruction_set: str) -> None:
    rng = np.random.default_rng(n)
    x, y = ((rng.integers(-9, 10, (2, 3, 2 * n)).T @ [1, 1j]).T.astype(dtype, order="C") for _ in range(2))
    swapped = x.astype(x.dtype.newbyteorder())
    for a, b in ((x, y), (x[:, ::-1], y), (x[:, ::2], y[:, 1::2]), (swapped, y), (x, y.real), (x.real, y)):
        for u, v in ((a[0], b[0]), (a, b), (a[0], b), (a, b[0])):
            exact = (u.conj() * v).sum(axis=-1)  # of integers
            for options in OPTIONS:
                assert np.array_equal(vecdot(u, v, **options), exact), options


@pytest.mark.parametrize("dtypes", ["?F", "bF", ">hF", "eF", "fF", "iD", "qD", "dD", ">fD", "gG"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 70), (7, 5000), (5000, 7), (300, 300)])
def test_real_matrices_by_complex_vectors(dtypes: str, shape: tuple[int, int], instruction_set: str) -> None:
    rng = np.random.default_rng(shape)
    real = np.dtype(dtypes[:-1])
    x = (rng.integers(-9, 10, (2, shape[1])).T @ [1, 1j]).astype(dtypes[-1])
    wide = rng.integers(0, 4, (2 * shape[0], 2 * shape[1])).astype(real)
    for A in (wide[: shape[0], : shape[1]], wide[::2, ::2], wide[::-2, 1::2], np.asfortranarray(wide[1::2, ::-2])):
        expected = A.astype(x.dtype) @ x  # sums of small integers
        for vector in (x, x[::-1].copy()[::-1], x.astype(x.dtype.newbyteorder())):
            for options in OPTIONS:
                assert np.array_equal(matvec(A, vector, **options), expected), options


def test_numbers_that_are_not_finite_by_real_ones() -> None:
    with np.errstate(all="ignore"):
        for special in (np.inf, complex(1, np.inf), complex(np.nan, 2), -np.inf * 1j):
            for A in (np.eye(3), np.ones((3, 3), np.int8), np.diag([np.inf, 1, 1])):
                x = np.array([1 + 1j, special, 3])
                expected = np.array([np.prod([row.astype(complex), x], axis=0).sum() for row in A])
                y = matvec(A, x)
                assert np.array_equal(np.isfinite(y), np.isfinite(expected))
                assert np.array_equal(np.isnan(y), np.isnan(expected))


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(2, 1), (3, 3), (4, 8), (5, 3)])
def test_many_small_matrices(dtype: np.dtype, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    A, x = rng.integers(0, 4, (2, 300, *shape)).astype(dtype), rng.integers(0, 4, (2, 300, shape[1])).astype(dtype)
    for matrices, vectors in ((A, x), (A[:, ::-2], x[:, ::2]), (A[0], x), (A[..., ::-1], x), (A, x[:, :1])):
        terms = matrices * vectors[..., np.newaxis, :]
        expected = terms.any(-1) if dtype.kind == "b" else terms.sum(-1, dtype=dtype)
        for options in OPTIONS:
            assert np.array_equal(matvec(matrices, vectors, **options), expected), options


@pytest.mark.parametrize("swap", [False, True])
def test_nothing_is_cast_before_it_is_known_that_all_can_be(swap: bool) -> None:
    A, x = np.full((2, 3), 1j), np.full(3, 65535, np.uint16)  # which would overflow in float16
    if swap:
        A, x = np.full((2, 3), 65535, np.uint16), np.full(3, 1j)
    with pytest.raises(TypeError, match="cannot be cast"):  # and no warning, which would be an error
        matvec(A, x, dtype=np.float16)
