"""A matrix that stays on its workers, for many products."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import Any, NoReturn, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._small import BY_NUMPY, Counts, SmallProducts
from .backends._base import DeviceResident, Resident
from .dispatch import Choice
from .distributed import DistributedArray
from .errors import BackendUnavailable, ClosedError
from .operands import as_operand
from .plan import MatvecPlan, plan_matvec

__all__ = ["Account", "Operator", "Stats"]

Array = NDArray[Any]
Method = TypeVar("Method", bound=Callable[..., Any])


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


class Account(Counts):
    """Places a matrix, counts what its views do, and closes it once."""

    _resident: Resident | None = None  # stays so where placing fails

    def __init__(self, A: Array, choice: Choice, exact: bool, place: Callable[[], Resident]) -> None:
        self.choice = choice
        self.exact = exact
        self.nbytes = A.nbytes
        start = time.perf_counter()
        self._resident = place()
        self.seconds_placing = time.perf_counter() - start
        self.at_hand = self._resident.at_hand if not exact else None
        self.how = BY_NUMPY if choice.backend.name == "numpy" else choice.workers

    @property
    def resident(self) -> Resident:
        if self._resident is None:
            raise ClosedError("the operator is closed")
        return self._resident

    def close(self) -> None:
        resident, self._resident, self.at_hand = self._resident, None, None
        if resident is not None:
            resident.close()

    def __del__(self) -> None:
        self.close()


def _tells(method: Method) -> Method:
    """A product that tells the other ranks, if the backend has any, of what it raises."""

    @wraps(method)
    def call(self: Operator, x: Any) -> Any:
        try:
            return method(self, x)
        except Exception as error:
            self._account.choice.backend.tell(error)
            raise

    return cast(Method, call)


class Operator(SmallProducts):
    """A matrix on the workers of a backend; made by `operator`.

    Has ``shape``, ``dtype``, ``matvec``, ``rmatvec``, ``matmat`` and ``rmatmat``, which is what
    ``scipy.sparse.linalg.aslinearoperator`` asks for. A context manager; closed when it is no longer used.
    """

    __array_ufunc__ = None  # so that ``array @ operator`` comes to __rmatmul__

    def __init__(self, account: Account, shape: tuple[int, int], dtype: np.dtype, form: str = "A") -> None:
        self._account = self.counts = account
        self.view = _view_of(account.at_hand, form)
        self._form = form  # "A", "A.T", "A.H" or "conj(A)"
        self.shape = shape
        self.dtype = dtype
        self._dtype_there: np.dtype | None = None  # of vectors on a device that were found to fit

    ndim = 2

    @_tells
    def matvec(self, x: ArrayLike | DistributedArray | Any) -> Any:
        """``A @ x``.

        Parameters
        ----------
        x : array_like, shape (n,) or (n, 1); DistributedArray or pyopencl.array.Array, shape (n,)
            DistributedArray: on the mpi backend, distributed as the columns of the operator are. Arrays of pyopencl: on
            the opencl backend, in its context, and of the dtype of the product.

        Returns
        -------
        ndarray, shape (m,) or (m, 1); DistributedArray or pyopencl.array.Array, shape (m,)
            As x is. Of the dtype that NumPy promotes those of A and x to. An array of pyopencl may be returned before
            it is computed: its `events` say when it is.

        Raises
        ------
        ClosedError
            After `close`.
        """
        y = self.multiply_here(x, 1)
        if y is not None:
            return y
        if isinstance(x, DistributedArray):
            return self._product_of_parts("matvec", x, 1)
        device = self._on_device(x)
        if device is not None:
            return self._product_there(device, x)
        vector = as_operand("matvec", "x", x)
        column = vector.shape == (self.shape[1], 1)
        plan = self._plan(vector.shape[:1] if column else vector.shape, vector.dtype)
        out = np.empty(plan.shape, plan.dtype)
        self._multiply(self._account.resident, vector[:, 0] if column else vector, out)
        return out[:, np.newaxis] if column else out

    def rmatvec(self, x: ArrayLike | DistributedArray) -> Any:
        """``A.conj().T @ x``; as `matvec`, with m and n exchanged."""
        return self.H.matvec(x)

    @_tells
    def matmat(self, X: ArrayLike | DistributedArray) -> Any:
        """``A @ X``.

        Parameters
        ----------
        X : array_like or DistributedArray, shape (n, k)

        Returns
        -------
        ndarray or DistributedArray, shape (m, k)
        """
        Y = self.multiply_here(X, 2)
        if Y is not None:
            return Y
        if isinstance(X, DistributedArray):
            return self._product_of_parts("matmat", X, 2)
        matrix = as_operand("matmat", "X", X)
        if matrix.ndim != 2 or matrix.shape[0] != self.shape[1]:
            raise ValueError(f"matmat: X has shape {matrix.shape}; the operator has shape {self.shape}")
        plan = self._plan(matrix.shape[:1], matrix.dtype, matrix.shape[1])
        out = np.empty((self.shape[0], matrix.shape[1]), plan.dtype)
        self._multiply_matrix(self._account.resident, matrix, out)
        return out

    def rmatmat(self, X: ArrayLike | DistributedArray) -> Any:
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

    @_tells
    def multiply_any(self, other: ArrayLike | DistributedArray) -> Any:
        """``self @ other``, where `SmallProducts` has no short cut for it."""
        if isinstance(other, DistributedArray):
            return self.matmat(other) if other.ndim == 2 else self.matvec(other)
        if self._on_device(other) is not None:
            return self.matvec(other)
        array = _at_most_matrix("the right operand", other)
        return self.matmat(array) if array.ndim == 2 else self.matvec(array)

    @_tells
    def __rmatmul__(self, other: ArrayLike) -> Any:
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

    def __reduce__(self) -> NoReturn:
        raise TypeError("an operator cannot be pickled or copied; pass the matrix, or its path, and make another one")

    def __repr__(self) -> str:
        choice = self._account.choice
        return f"<Operator {self._form}, shape {self.shape}, {self.dtype}, on {choice.backend.name} x {choice.workers}>"

    def _plan(self, x_shape: tuple[int, ...], x_dtype: np.dtype, *details: object) -> MatvecPlan:
        plan = plan_matvec(self.shape, self.dtype, x_shape, x_dtype, exact=self._account.exact)
        backend = self._account.choice.backend
        refusal = backend.refusal(plan)
        if refusal is not None:
            raise BackendUnavailable(f"backend {backend.name!r} cannot run this call: {refusal}")
        if backend.collective:
            backend.agree(f"a product {details} with {self}: {plan}")
        return plan

    def _view(self, forms: dict[str, str], shape: tuple[int, ...]) -> Operator:
        return Operator(self._account, (shape[0], shape[1]), self.dtype, forms[self._form])

    def _product_of_parts(self, name: str, x: DistributedArray, ndim: int) -> DistributedArray:
        placed = self._account.resident.distributed
        if placed is None:
            backend = self._account.choice.backend.name
            raise TypeError(
                f"{name}: x is a DistributedArray; the operator is on backend {backend!r}. Use backend='mpi'"
            )
        forward = self._form in ("A", "conj(A)")
        given, wanted = (placed.column_counts, placed.row_counts)[:: 1 if forward else -1]
        x.require(name, ndim, given)
        plan = self._plan(x.shape[:1], x.dtype, "of parts", *x.shape[1:])
        out = np.empty((wanted[placed.rank], *x.shape[1:]), plan.dtype)
        (self._multiply if ndim == 1 else self._multiply_matrix)(placed, x.local, out)
        return x.like(out, wanted)

    def _on_device(self, x: object) -> DeviceResident | None:
        """The matrix, if it and `x` are in the memory of a device."""
        resident = self._account.resident
        return resident if isinstance(resident, DeviceResident) and resident.takes(x) else None

    def _product_there(self, placed: DeviceResident, x: Any) -> Any:
        """With a vector in the memory of the device, where the result stays."""
        if x.dtype is not self._dtype_there or x.shape != (self.shape[1],):
            self._require_there(x)
            self._dtype_there = x.dtype
        start = time.perf_counter()
        y = placed.multiply_there(x, self._form in ("A.T", "A.H"))
        self._count(start, 1)
        return y

    def _require_there(self, x: Any) -> None:
        """Raise where such a vector cannot be multiplied on the device."""
        if x.shape != (self.shape[1],):
            raise ValueError(f"matvec: x has shape {x.shape}; the operator has shape {self.shape}")
        plan = self._plan(x.shape, x.dtype)
        conjugates = self.dtype.kind == "c" and self._form in ("A.H", "conj(A)")
        if plan.dtype != x.dtype or plan.exact or conjugates:
            what = "the conjugate" if conjugates else "exact=True" if plan.exact else f"a product of dtype {plan.dtype}"
            raise TypeError(f"matvec: x is an array of {x.dtype} on a device; {what} needs one of NumPy: pass x.get()")

    def _multiply_matrix(self, resident: Resident, X: Array, out: Array) -> None:
        placed = resident if self._form in ("A", "conj(A)") else resident.transposed()
        if placed is None:
            for column in range(X.shape[1]):
                self._multiply(resident, X[:, column], out[:, column])
            return
        start = time.perf_counter()
        conjugates = self._form in ("A.H", "conj(A)") and self.dtype.kind == "c"
        placed.matmat(X.conj() if conjugates else X, out, **self._options(out))
        if conjugates:
            _conjugate(out, exact=self._account.exact)
        self._count(start, X.shape[1])

    def _multiply(self, resident: Resident, x: Array, out: Array) -> None:
        """Every form by the two products of a resident: ``A @ x`` and ``conj(x) @ A``."""
        start = time.perf_counter()
        operand = x.conj() if self._form in ("A.T", "conj(A)") else x
        if self._form in ("A", "conj(A)"):
            resident.matvec(operand, out, **self._options(out))
        else:
            for index in np.ndindex(x.shape[:-1]):  # vecmat takes one vector
                resident.vecmat(operand[index], out[index], **self._options(out))
        if self._form in ("A.H", "conj(A)") and out.dtype.kind == "c":
            _conjugate(out, exact=self._account.exact)
        self._count(start, 1)

    def _options(self, out: Array) -> dict[str, bool]:
        """Integers are exact anyway; and a resident without exact products need not name them."""
        return {"exact": True} if self._account.exact and out.dtype.kind in "fc" else {}

    def _count(self, start: float, calls: int) -> None:
        self._account.calls += calls
        self._account.seconds += time.perf_counter() - start


def _conjugate(out: Array, *, exact: bool) -> None:
    """In place; exact sums that are zero stay +0.0, and those that are NaN the one NaN."""
    if exact:
        np.subtract(0, out.imag, out=out.imag)
    else:
        np.conjugate(out, out=out)


def _view_of(A: Array | None, form: str) -> Array | None:
    """The array whose products those of an operator are, if there is one."""
    if A is None or (A.dtype.kind == "c" and form in ("A.H", "conj(A)")):
        return None
    return A.T if form in ("A.T", "A.H") else A


def _at_most_matrix(name: str, other: ArrayLike) -> Array:
    array = as_operand("matmul", name, other)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"matmul: {name} has shape {array.shape}; it must have 1 or 2 dimensions. Use matvec for batches"
        )
    return array
