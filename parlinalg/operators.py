"""A matrix that stays on its workers, for many products."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .backends._base import Backend, Resident
from .dispatch import Choice, choose
from .errors import ClosedError
from .operands import as_operand
from .plan import MatvecPlan, plan_matvec

__all__ = ["Operator", "Stats", "operator"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Stats:
    """What an operator has done so far."""

    backend: str
    workers: int
    bytes_placed: int  # size of the matrix
    seconds_placing: float
    calls: int  # products with a vector; a product with a matrix counts once per column
    seconds: float  # spent in them

    @property
    def gigabytes_per_second(self) -> float:
        """Rate at which the matrix was read, in 1e9 bytes per second; 0.0 before the first call."""
        return self.calls * self.bytes_placed / self.seconds / 1e9 if self.seconds else 0.0


class _Account:
    """Counts what the views of one placed matrix do; closes it once."""

    def __init__(self, A: Array, choice: Choice, exact: bool) -> None:
        self.choice = choice
        self.exact = exact
        self.nbytes = A.nbytes
        self.calls = 0
        self.seconds = 0.0
        self._resident: Resident | None = None  # stays so where placing fails
        start = time.perf_counter()
        self._resident = choice.backend.place(A, choice.workers)
        self.seconds_placing = time.perf_counter() - start

    @property
    def resident(self) -> Resident:
        if self._resident is None:
            raise ClosedError("the operator is closed")
        return self._resident

    def close(self) -> None:
        resident, self._resident = self._resident, None
        if resident is not None:
            resident.close()

    def __del__(self) -> None:
        self.close()


class Operator:
    """A matrix on the workers of a backend; made by `operator`.

    Has ``shape``, ``dtype``, ``matvec``, ``rmatvec``, ``matmat`` and ``rmatmat``, which is what
    ``scipy.sparse.linalg.aslinearoperator`` asks for. A context manager; closed when it is no longer used.
    """

    __array_ufunc__ = None  # so that ``array @ operator`` comes to __rmatmul__

    def __init__(self, account: _Account, shape: tuple[int, int], dtype: np.dtype, form: str = "A") -> None:
        self._account = account
        self._form = form  # "A", "A.T", "A.H" or "conj(A)"
        self.shape = shape
        self.dtype = dtype

    ndim = 2

    def matvec(self, x: ArrayLike) -> Array:
        """``A @ x``.

        Parameters
        ----------
        x : array_like, shape (n,) or (n, 1)

        Returns
        -------
        ndarray, shape (m,) or (m, 1)
            Of the dtype that NumPy promotes those of A and x to.

        Raises
        ------
        ClosedError
            After `close`.
        """
        vector = as_operand("matvec", "x", x)
        column = vector.shape == (self.shape[1], 1)
        plan = self._plan(vector.shape[:1] if column else vector.shape, vector.dtype)
        out = np.empty(plan.shape, plan.dtype)
        self._multiply(vector[:, 0] if column else vector, out)
        return out[:, np.newaxis] if column else out

    def rmatvec(self, x: ArrayLike) -> Array:
        """``A.conj().T @ x``; as `matvec`, with m and n exchanged."""
        return self.H.matvec(x)

    def matmat(self, X: ArrayLike) -> Array:
        """``A @ X``.

        Parameters
        ----------
        X : array_like, shape (n, k)

        Returns
        -------
        ndarray, shape (m, k)
        """
        matrix = as_operand("matmat", "X", X)
        if matrix.ndim != 2 or matrix.shape[0] != self.shape[1]:
            raise ValueError(f"matmat: X has shape {matrix.shape}; the operator has shape {self.shape}")
        out = np.empty((self.shape[0], matrix.shape[1]), self._plan(matrix.shape[:1], matrix.dtype).dtype)
        if self._form != "A":
            for column in range(matrix.shape[1]):
                self._multiply(matrix[:, column], out[:, column])
            return out
        start = time.perf_counter()
        self._account.resident.matmat(matrix, out, **self._options(out))
        self._count(start, matrix.shape[1])
        return out

    def rmatmat(self, X: ArrayLike) -> Array:
        """``A.conj().T @ X``; as `matmat`, with m and n exchanged."""
        return self.H.matmat(X)

    @property
    def T(self) -> Operator:
        """The transpose, as a view of the same placed matrix."""
        return self._view({"A": "A.T", "A.T": "A", "A.H": "conj(A)", "conj(A)": "A.H"}, self.shape[::-1])

    @property
    def H(self) -> Operator:
        """The conjugate transpose, as a view of the same placed matrix."""
        return self._view({"A": "A.H", "A.H": "A", "A.T": "conj(A)", "conj(A)": "A.T"}, self.shape[::-1])

    def __matmul__(self, other: ArrayLike) -> Array:
        array = _at_most_matrix("the right operand", other)
        return self.matmat(array) if array.ndim == 2 else self.matvec(array)

    def __rmatmul__(self, other: ArrayLike) -> Array:
        array = _at_most_matrix("the left operand", other)
        return self.T.matmat(array.T).T if array.ndim == 2 else self.T.matvec(array)

    def stats(self) -> Stats:
        """Bytes placed, calls, seconds and GB/s so far; those of views of the same matrix count together."""
        account = self._account
        return Stats(
            account.choice.backend.name,
            account.choice.workers,
            account.nbytes,
            account.seconds_placing,
            account.calls,
            account.seconds,
        )

    def close(self) -> None:
        """Free the matrix on its workers; also that of all views of it. May be called again."""
        self._account.close()

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        choice = self._account.choice
        return f"<Operator {self._form}, shape {self.shape}, {self.dtype}, on {choice.backend.name} x {choice.workers}>"

    def _plan(self, x_shape: tuple[int, ...], x_dtype: np.dtype) -> MatvecPlan:
        return plan_matvec(self.shape, self.dtype, x_shape, x_dtype, exact=self._account.exact)

    def _view(self, forms: dict[str, str], shape: tuple[int, ...]) -> Operator:
        return Operator(self._account, (shape[0], shape[1]), self.dtype, forms[self._form])

    def _multiply(self, x: Array, out: Array) -> None:
        """Every form by the two products of a resident: ``A @ x`` and ``conj(x) @ A``."""
        resident = self._account.resident
        start = time.perf_counter()
        operand = x.conj() if self._form in ("A.T", "conj(A)") else x
        if self._form in ("A", "conj(A)"):
            resident.matvec(operand, out, **self._options(out))
        else:
            for index in np.ndindex(x.shape[:-1]):  # vecmat takes one vector
                resident.vecmat(operand[index], out[index], **self._options(out))
        if self._form in ("A.H", "conj(A)") and out.dtype.kind == "c":
            np.conjugate(out, out=out)
        self._count(start, 1)

    def _options(self, out: Array) -> dict[str, bool]:
        """Integers are exact anyway; and a resident without exact products need not name them."""
        return {"exact": True} if self._account.exact and out.dtype.kind in "fc" else {}

    def _count(self, start: float, calls: int) -> None:
        self._account.calls += calls
        self._account.seconds += time.perf_counter() - start


def _at_most_matrix(name: str, other: ArrayLike) -> Array:
    array = as_operand("matmul", name, other)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"matmul: {name} has shape {array.shape}; it must have 1 or 2 dimensions. Use matvec for batches"
        )
    return array


def operator(
    A: ArrayLike | str | os.PathLike[str],
    *,
    backend: str | Backend | None = None,
    workers: int | None = None,
    exact: bool = False,
) -> Operator:
    """Put a matrix on its workers once, for many products.

    Parameters
    ----------
    A : array_like, shape (m, n), or path of a .npy file
        Of a file, each worker maps only its own rows. Do not change an array while the operator is in use: backends
        whose workers share the caller's memory see the change, others keep what they were given.
    backend, workers
        As in `matvec`.
    exact : bool
        Round each element of every product once, as `matvec` does with ``exact=True``.

    Returns
    -------
    Operator

    Raises
    ------
    TypeError, ValueError
        If A is not a numeric matrix, or of longdouble although it is to be `exact`.
    BackendUnavailable
        If the backend that was asked for cannot run here.

    Examples
    --------
    >>> import numpy as np, parlinalg
    >>> with parlinalg.operator(np.eye(3), backend="numpy") as op:
    ...     op @ [1, 2, 3]
    array([1., 2., 3.])
    """
    if isinstance(A, (str, os.PathLike)):
        matrix = np.load(A, mmap_mode="r", allow_pickle=False)
        if not isinstance(matrix, np.ndarray):
            matrix.close()
            text = f"operator: {os.fspath(A)!r} holds several arrays; pass a .npy file, which holds one"
            raise ValueError(text)  # noqa: TRY004  the argument is a path, as it should be
    else:
        matrix = A if type(A) is np.memmap else as_operand("operator", "A", A)
    if matrix.ndim != 2:
        raise ValueError(f"operator: A has shape {matrix.shape}; it must have 2 dimensions")
    as_operand("operator", "A", matrix)
    plan = plan_matvec(matrix.shape, matrix.dtype, matrix.shape[1:], matrix.dtype, exact=bool(exact))
    if exact:
        plan = replace(plan, exact=True)  # also of integers, which may be multiplied by floats
    account = _Account(matrix, choose(plan, backend, workers), bool(exact))
    return Operator(account, (matrix.shape[0], matrix.shape[1]), matrix.dtype.newbyteorder("="))
