"""A placed matrix: products in all forms, SciPy's interface, statistics, and what a closed one does."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parlinalg
from parlinalg import ClosedError, operator
from parlinalg.backends import NumPy, Resident
from parlinalg.plan import plan_matvec
from parlinalg.registry import default_instance
from parlinalg.testing.checks import require_close
from parlinalg.testing.oracle import exact_matvec
from parlinalg.testing.strategies import PRODUCT_DTYPES
from test_operands import Sparse

RNG = np.random.default_rng(0)
A = RNG.standard_normal((5, 4)) + 1j * RNG.standard_normal((5, 4))
X, Z = RNG.standard_normal(4) + 1j, RNG.standard_normal(5) - 1j


@pytest.fixture
def op(backend: str) -> Iterator[parlinalg.Operator]:
    with operator(A, backend=backend) as op:
        yield op


def test_every_form_is_what_it_says(op: parlinalg.Operator) -> None:
    forms = {"A": (op, A), "T": (op.T, A.T), "H": (op.H, A.conj().T), "conj": (op.T.H, A.conj())}
    for name, (form, matrix) in forms.items():
        vector = RNG.standard_normal(matrix.shape[1]) + 2j
        other = RNG.standard_normal(matrix.shape[0]) + 3j
        assert (form.shape, form.dtype, form.ndim) == (matrix.shape, matrix.dtype, 2)
        require_close(form.matvec(vector), exact_matvec(matrix, vector), name)
        require_close(form @ vector, exact_matvec(matrix, vector), name)
        require_close(form.rmatvec(other), exact_matvec(matrix.conj().T, other), name)
        require_close(other @ form, exact_matvec(matrix.T, other), name)
        require_close((form @ np.stack([vector, 2 * vector], 1))[:, 1], exact_matvec(matrix, 2 * vector), name)
        require_close((np.stack([other, 2 * other]) @ form)[1], exact_matvec(matrix.T, 2 * other), name)
        require_close(form.rmatmat(np.stack([other] * 3, 1))[:, 2], exact_matvec(matrix.conj().T, other), name)


def test_two_views_undo_each_other(op: parlinalg.Operator) -> None:
    for view in (op.T.T, op.H.H, op.T.H.T.H):
        np.testing.assert_array_equal(view @ X, op @ X)


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES, ids=str)
def test_dtypes(backend: str, dtype: np.dtype) -> None:
    matrix = np.array([[1, 0, 1], [1, 1, 0]], dtype)
    if default_instance(backend).refusal(plan_matvec((2, 3), dtype, (3,), dtype)) is not None:
        with pytest.raises(parlinalg.BackendUnavailable):
            operator(matrix, backend=backend)
        return
    with operator(matrix.astype(dtype.newbyteorder()), backend=backend) as op:
        assert op.dtype == dtype
        assert op.dtype.isnative
        for x in (np.array([1, 1, 0], dtype), np.array([1.0, 1.0, 0.0]), np.array([1, 1, 0], np.int8)):
            require_close(op @ x, exact_matvec(matrix, x))
            require_close(op.H @ x[:2], exact_matvec(matrix.conj().T, x[:2]))


def test_a_column_gives_a_column(op: parlinalg.Operator) -> None:
    column = op.matvec(X[:, np.newaxis])
    assert column.shape == (5, 1)
    np.testing.assert_array_equal(column[:, 0], op.matvec(X))
    assert (op @ np.ones((4, 0))).shape == (5, 0)


def test_a_batch_of_vectors(op: parlinalg.Operator) -> None:
    vectors = RNG.standard_normal((3, 4))
    require_close(op.matvec(vectors), exact_matvec(A, vectors))


def test_a_batch_of_vectors_by_a_view(op: parlinalg.Operator) -> None:
    vectors = RNG.standard_normal((3, 5))
    for form, matrix in ((op.T, A.T), (op.H, A.conj().T)):
        require_close(form.matvec(vectors), exact_matvec(matrix, vectors))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (0, 3), (3, 0)])
def test_shapes(backend: str, shape: tuple[int, int]) -> None:
    matrix = RNG.standard_normal(shape)
    with operator(matrix, backend=backend) as op:
        require_close(op @ np.ones(shape[1]), exact_matvec(matrix, np.ones(shape[1])))
        require_close(op.T @ np.ones(shape[0]), exact_matvec(matrix.T, np.ones(shape[0])))


def test_statistics(op: parlinalg.Operator) -> None:
    before = op.stats()
    assert (before.calls, before.seconds, before.bytes_placed) == (0, 0.0, A.nbytes)
    assert before.gigabytes_per_second == 0.0
    assert before.seconds_placing >= 0
    op @ X
    op.T @ Z
    op @ np.ones((4, 3))
    after = op.stats()
    assert after.calls == 5
    assert after.seconds > 0
    assert after.gigabytes_per_second == pytest.approx(5 * A.nbytes / after.seconds / 1e9)
    assert (after.backend, after.workers) == (before.backend, before.workers)
    assert op.H.stats() == after


def test_repr(op: parlinalg.Operator) -> None:
    stats = op.stats()
    text = f"shape (4, 5), complex128, on {stats.backend} x {stats.workers}"
    assert repr(op.H) == f"<Operator A.H, {text}>"


# Closing


class Counted(Resident):
    closed = 0

    def matvec(self, x: Any, out: Any, *, exact: bool = False) -> None:
        out[...] = 0

    vecmat = matvec

    def close(self) -> None:
        type(self).closed += 1


class Counting(NumPy):
    def place(self, A: Any, workers: int) -> Resident:
        return Counted()


@pytest.mark.parametrize("how", ["close", "with", "view", "exception", "forgotten"])
def test_the_matrix_is_freed_once(how: str) -> None:
    Counted.closed = 0
    op = operator(A, backend=Counting())
    if how == "close":
        op.close()
    elif how == "with":
        with op:
            pass
    elif how == "view":
        op.T.H.close()
    elif how == "exception":
        with pytest.raises(ZeroDivisionError), op:
            raise ZeroDivisionError
    else:
        view = op.T
        del op
        gc.collect()
        assert Counted.closed == 0  # the view still uses it
        del view
        gc.collect()
        assert Counted.closed == 1
        return
    op.close()
    assert Counted.closed == 1
    del op
    gc.collect()
    assert Counted.closed == 1


def test_a_closed_operator_says_so(backend: str) -> None:
    op = operator(A, backend=backend)
    op.close()
    calls: tuple[Callable[[], Any], ...] = (
        lambda: op.matvec(X),
        lambda: op.rmatvec(Z),
        lambda: op @ np.ones((4, 2)),
        lambda: Z @ op,
        lambda: op.H.rmatmat(np.ones((4, 2))),
    )
    for call in calls:
        with pytest.raises(ClosedError, match="^the operator is closed$"):
            call()
    assert op.stats().calls == 0


# What is refused


def test_what_is_no_matrix_is_refused(backend: str) -> None:
    cases: tuple[tuple[Any, type[Exception], str], ...] = (
        (np.ones(3), ValueError, r"operator: A has shape \(3,\); it must have 2 dimensions"),
        (np.ones((2, 2, 2)), ValueError, r"operator: A has shape \(2, 2, 2\); it must have 2 dimensions"),
        (np.ones((2, 2), object), TypeError, "operator: A has dtype object"),
        (Sparse(), TypeError, "operator: A is a sparse Sparse"),
        (None, TypeError, "operator: A is a NoneType"),
    )
    for value, error, words in cases:
        with pytest.raises(error, match=words):
            operator(value, backend=backend)


def test_operands_that_do_not_fit_are_refused(op: parlinalg.Operator) -> None:
    cases: tuple[tuple[Callable[[], Any], str], ...] = (
        (lambda: op.matvec(Z), r"matvec: x has shape \(5,\); A has shape \(5, 4\)"),
        (lambda: op.rmatvec(X), r"matvec: x has shape \(4,\); A has shape \(4, 5\)"),
        (lambda: op.matmat(X), r"matmat: X has shape \(4,\); the operator has shape \(5, 4\)"),
        (lambda: op @ np.ones((5, 2)), r"matmat: X has shape \(5, 2\); the operator has shape \(5, 4\)"),
        (lambda: np.ones((2, 4)) @ op, r"matmat: X has shape \(4, 2\); the operator has shape \(4, 5\)"),
    )
    for call, words in cases:
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match="x has dtype object"):
        op.matvec(X.astype(object))
    assert op.stats().calls == 0


# Files


def test_the_path_of_a_file(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "A.npy"
    for order in "CF":
        np.save(path, np.asarray(A, order=order))  # type: ignore[call-overload]
        for given in (path, str(path)):
            with operator(given, backend=backend) as op:
                require_close(op @ X, exact_matvec(A, X))
                require_close(op.H @ Z, exact_matvec(A.conj().T, Z))
                assert op.stats().bytes_placed == A.nbytes


def test_files_that_are_refused(backend: str, tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[{}]], object), allow_pickle=True)
    np.save(tmp_path / "vector.npy", np.ones(3))
    (tmp_path / "text.npy").write_text("no array")
    for name, words in (
        ("objects", "Python objects"),
        ("vector", "operator: A has shape"),
        ("text", "not a .npy file"),
    ):
        with pytest.raises(ValueError, match=words):
            operator(tmp_path / f"{name}.npy", backend=backend)
    with pytest.raises(FileNotFoundError):
        operator(tmp_path / "absent.npy", backend=backend)


def test_a_file_is_not_changed(backend: str, tmp_path: Path) -> None:
    np.save(tmp_path / "A.npy", A)
    before = (tmp_path / "A.npy").read_bytes()
    with operator(tmp_path / "A.npy", backend=backend) as op:
        op @ X
    assert (tmp_path / "A.npy").read_bytes() == before


# SciPy


def test_scipy_solves_with_it(backend: str) -> None:
    linalg = pytest.importorskip("scipy.sparse.linalg")
    basis = RNG.standard_normal((30, 30))
    symmetric = basis @ basis.T + np.diag(np.arange(1.0, 31) ** 2)
    with operator(symmetric, backend=backend) as op:
        wrapped = linalg.aslinearoperator(op)
        assert (wrapped.shape, wrapped.dtype) == ((30, 30), np.float64)
        found = linalg.eigsh(wrapped, k=3, v0=np.ones(30), return_eigenvectors=False)
        np.testing.assert_allclose(np.sort(found), np.linalg.eigvalsh(symmetric)[-3:], rtol=1e-9)
        solution, status = linalg.gmres(wrapped, np.ones(30), rtol=1e-10, maxiter=1000)
        assert status == 0
        np.testing.assert_allclose(symmetric @ solution, np.ones(30), atol=1e-6)
        np.testing.assert_allclose(wrapped.H @ np.ones(30), symmetric @ np.ones(30))


def test_scipy_takes_rectangles(backend: str) -> None:
    linalg = pytest.importorskip("scipy.sparse.linalg")
    matrix = RNG.standard_normal((20, 6))
    with operator(matrix, backend=backend) as op:
        solution = linalg.lsqr(linalg.aslinearoperator(op), np.ones(20), atol=1e-12, btol=1e-12)[0]
    np.testing.assert_allclose(solution, np.linalg.lstsq(matrix, np.ones(20))[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "c8", "f2", "i4", "?"])
@pytest.mark.parametrize("n", [1, 16, 120, 600])
@pytest.mark.parametrize("how", ["auto", "numpy", "openmp"])
def test_the_short_cut_of_operators(how: str, n: int, dtype: str) -> None:
    """Products of vectors and of matrices, of the matrix and its transpose, as the general way computes them."""
    rng = np.random.default_rng(n)
    backend: Any = NumPy(reports=False) if how == "numpy" else how
    matrix = rng.integers(0, 3, (n, n)).astype(dtype)
    X = rng.integers(0, 3, (n, 3)).astype(dtype)
    with operator(matrix, backend=backend) as op:
        for form, array in ((op, matrix), (op.T, matrix.T)):
            before = op.stats().calls
            for operand in (X, X[::-1], np.asfortranarray(X), X.astype(X.dtype.newbyteorder())):
                expected = array @ operand  # small integers: exact in any order, but for float16
                for found in (form @ operand, form.matmat(operand)):
                    assert found.dtype == expected.dtype
                    assert np.allclose(found, expected, rtol=0 if dtype != "f2" else 2e-3)
                assert np.allclose(form @ operand[:, 1], expected[:, 1], rtol=0 if dtype != "f2" else 2e-3)
                assert (form.matvec(operand[:, 1]) == form @ operand[:, 1]).all()
            assert op.stats().calls - before == 4 * (3 + 3 + 1 + 1 + 1)
    with pytest.raises(parlinalg.ClosedError):
        op @ X


@pytest.mark.parametrize("n", [4, 40, 200])
def test_the_short_cut_reports_as_the_general_way(n: int) -> None:
    large = np.full((n, n), 1e308)
    with np.errstate(all="raise"):
        with operator(large) as op:
            for operand in (large[0], large[:, :2], large, np.full((n, 3), 10, "f4")):
                for form in (op, op.T, op.H):
                    assert np.isinf(form @ operand).all()
        with operator(large, backend=NumPy(reports=False)) as op:
            assert np.isinf(op @ np.full((n, 3), 10, "f4")).all()
        with operator(large, backend="numpy") as op, pytest.raises(FloatingPointError, match="overflow"):
            op @ large[0]
