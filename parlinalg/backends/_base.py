"""The contract: what a backend is, whatever its workers are."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..exact import round_states
from ..plan import MatvecPlan, SumPlan
from ..split import pieces

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Backend", "DeviceResident", "DistributedResident", "Resident"]

Array = NDArray[Any]
T = TypeVar("T")
B = TypeVar("B", bound="Backend")

STATES_AT_A_TIME = 4096  # 2.4 MB


class Resident(ABC):
    """A matrix on its workers; a context manager.

    It owns memory only: `x` and `out` have been checked, and the caller sees to it that a closed one is not used.
    """

    at_hand: Array | None = None  # the matrix, where its small products may be done by anybody in this process
    distributed: DistributedResident | None = None  # the same matrix, for operands of which each rank has a part

    @abstractmethod
    def matvec(self, x: Array, out: Array, *, exact: bool = False) -> None:
        """Write ``A @ x`` into `out`.

        Parameters
        ----------
        x : shape (..., n), any dtype, strides and byte order
        out : shape (..., m)
            Its dtype is the one to compute in; A and x can be cast to it safely. Strides are arbitrary; it overlaps
            neither A nor x; what it holds must not be read.
        exact : bool
            Round each element of the exact product once; `out` is float or complex then. Only asked of a backend that
            has `exact_products`.
        """

    @abstractmethod
    def vecmat(self, x: Array, out: Array, *, exact: bool = False) -> None:
        """Write ``conj(x) @ A`` into `out`: x has shape (m,), out has shape (n,); otherwise as `matvec`."""

    def matmat(self, X: Array, out: Array, *, exact: bool = False) -> None:
        """Write ``A @ X`` into `out`: X has shape (n, k), out has shape (m, k); otherwise as `matvec`."""
        for column in range(X.shape[1]):
            self.matvec(X[:, column], out[:, column], exact=exact)

    def transposed(self) -> Resident | None:
        """The transpose, which owns nothing; None, where only `vecmat` has products with it."""
        return None

    def close(self) -> None:  # noqa: B027  a backend that holds nothing has nothing to free
        """Free the memory. May be called again."""

    def __enter__(self) -> Resident:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()


class DeviceResident(Resident):
    """A matrix in the memory of a device, with products of arrays that lie there, too."""

    @abstractmethod
    def takes(self, x: object) -> bool:
        """Whether `x` is an array in the memory of a device, with which `multiply_there` computes.

        Parameters
        ----------
        x : object

        Returns
        -------
        bool
        """

    @abstractmethod
    def multiply_there(self, x: Any, transposed: bool) -> Any:
        """``A @ x``, or ``A.T @ x``, in the memory where `x` is.

        Parameters
        ----------
        x : array that `takes` takes
            Its length fits, and its dtype is the one to compute in.
        transposed : bool

        Returns
        -------
        array
            Of the kind of `x`; it may be returned before it is computed.
        """


class DistributedResident(Resident):
    """A matrix whose products take the part of an operand that this rank has, and give its part of the result."""

    row_counts: tuple[int, ...]  # rows of each rank: how ``A @ x`` is distributed
    column_counts: tuple[int, ...]  # how x is
    rank: int


class Backend(ABC):
    """One kind of worker. Holds its pool, queue or communicator; a context manager.

    A subclass says what it is called (`name`), how a matrix is placed on its workers (`place`) and how they sum
    (`sum_states`). It overrides what it does better. Operands that reach it are ndarrays of numeric dtype that fit
    together, with any strides and byte order; nothing that the plan has settled is checked again.
    """

    name: ClassVar[str]
    capacity: int | None = None  # the most workers it can use; None: any number
    workers: int | None = None  # how many a call uses that does not say; None: the default of this host
    exact_products: bool = False  # whether it takes ``exact=True``
    rank: int = 0  # of this process, among those that make the same calls
    collective: bool = False  # whether every rank must make the same calls, in the same order
    device_name: str = ""  # of what it computes with; "": the processors of this host
    _queue: ThreadPoolExecutor | None = None
    _queue_owner = 0  # process that made it

    @classmethod
    def why_not(cls) -> str | None:
        """None if it can run here; otherwise the reason and the remedy in one sentence.

        Must start nothing and import nothing heavy: ``parlinalg.backends()`` asks every backend.
        """
        return None

    @classmethod
    def version(cls) -> str:
        """Version of what it stands on, for example ``"OpenMP 4.5, avx512"``; asked only if it can run."""
        return ""

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        """Names of the devices that it can use besides the processor; asked only if it can run."""
        return ()

    @classmethod
    def tune_devices(cls) -> dict[str, dict[str, int]]:
        """How work is best given to each of its devices, measured; `tune` keeps it with the profile of the host.

        Returns
        -------
        dict of dict
            By the name of the device, numbers by their names.
        """
        return {}

    def bandwidth(self) -> float | None:
        """Bytes per second that the memory of its device moves, measured; None: that of this host is what it uses.

        Returns
        -------
        float or None
        """
        return None

    def room(self) -> float:
        """Bytes that a matrix may have to stay where it is placed, rather than to be sent for each product.

        Returns
        -------
        float
        """
        return math.inf

    def refuses(self, plan: MatvecPlan | SumPlan) -> str | None:
        """None, or why it cannot run a call with this `plan`, for example ``"device 'X' has no float64"``."""
        return None

    def refusal(self, plan: MatvecPlan | SumPlan) -> str | None:
        """What callers ask of a `plan`: what `refuses` says, or what follows from attributes. Not to be overridden."""
        if isinstance(plan, MatvecPlan) and plan.exact and not self.exact_products:
            return "it has no exact products. Use backend='openmp'"
        return self.refuses(plan)

    def agree(self, call: str) -> None:  # noqa: B027  most have one caller
        """Compare a call with those of the other ranks, before anything is done.

        Parameters
        ----------
        call : str
            That tells calls apart which would not do the same.

        Raises
        ------
        ValueError
            On every rank, if they differ.
        """

    def tell(self, error: Exception) -> None:  # noqa: B027
        """Let the other ranks raise too, where this one fails in a call that all of them make.

        Parameters
        ----------
        error : Exception
            That this rank raises next.
        """

    @abstractmethod
    def place(self, A: Array, workers: int) -> Resident:
        """Put a matrix `A`, shape (..., m, n), on `workers` workers."""

    @abstractmethod
    def sum_states(self, a: Array, kept: int, workers: int) -> NDArray[np.int64]:
        """Exact sums over all but the first `kept` axes, as states merged over the workers and normalised.

        Parameters
        ----------
        a : bool, integer or real array, any strides and byte order
        kept : int
        workers : int

        Returns
        -------
        int64 array, shape ``a.shape[:kept] + (exact.digits(a.dtype),)``
        """

    def write_sums(self, a: Array, kept: int, out: Array, workers: int) -> None:
        """Write the sums of `sum_states` into `out`, each rounded once; report as `exact.report` does.

        Parameters
        ----------
        a : float array, any strides and byte order
        kept : int
        out : float16, float32 or float64 array, shape ``a.shape[:kept]``, any strides
        workers : int
        """
        for rows in pieces(out.shape, STATES_AT_A_TIME):
            out[rows] = round_states(self.sum_states(a[rows], kept, workers), out.dtype)

    def matvec(self, A: Array, x: Array, out: Array, workers: int, *, exact: bool = False) -> None:
        """Write ``A @ x`` into `out`, on `workers` workers, rounded once if `exact`.

        Places A, multiplies and closes; overridden where that is slow.
        """
        with self.place(A, workers) as resident:
            resident.matvec(x, out, exact=exact)

    def submit(self, function: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Call ``function(*args, **options)`` after everything submitted before it; return the future of its result.

        One queue per backend keeps the order of collective calls equal on all ranks. A submitted call must not wait
        for one that was submitted later. Functions of parlinalg compute on this backend only if `options` say so, or
        the matrix is an operator's: what `set_backend` chose holds in the context of the caller.
        """
        from concurrent.futures import ThreadPoolExecutor  # loads logging: a fifth of our import time

        with _QUEUE_LOCK:
            if self._queue is None or self._queue_owner != os.getpid():  # its thread does not outlive a fork
                self._queue = ThreadPoolExecutor(1, f"parlinalg-{self.name}")
                self._queue_owner = os.getpid()
            return self._queue.submit(function, *args, **options)

    def close(self) -> None:
        """End the workers. May be called again; the next call of the backend starts new ones."""
        with _QUEUE_LOCK:
            queue, self._queue = self._queue, None
        if queue is not None:
            queue.shutdown()

    def __enter__(self: B) -> B:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()


_QUEUE_LOCK = Lock()
