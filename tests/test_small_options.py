"""The compiled short cut of calls that say where the result goes, or who computes it, and of batches."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlinalg import matvec, vecdot, vecmat
from parlinalg.testing.checks import require_same_bits, unchanged
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


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
@pytest.mark.parametrize("n", [3, 200])
def test_threads_and_numpy_may_be_asked_for(entered: list[str], options: dict[str, Any], n: int) -> None:
    batch = np.random.default_rng(n).standard_normal((2, n, n))
    A, x, out = batch[0], batch[1, 0], np.empty(n)
    matvec(batch, x, **options)
    matvec(A, x, out, **options)
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
