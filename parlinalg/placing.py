"""``operator``: put a matrix on its workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ParamSpec, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .backends._base import Backend
from .device_arrays import backend_of
from .dispatch import Choice, collective, engage, wants_exact, with_ranks
from .files import mapped
from .model import layout_of
from .operands import Operand, as_operand, is_there
from .operators import Account, Operator
from .plan import MatvecPlan, plan_matvec

__all__ = ["operator"]

Array = NDArray[Any]
P = ParamSpec("P")


class _OperatorFunction(Protocol[P]):
    """`operator`, which has a second way to say where the matrix is."""

    def __call__(self, *args: P.args, **options: P.kwargs) -> Operator: ...

    @staticmethod
    def from_local(
        A_local: ArrayLike,  # noqa: N803
        *,
        backend: str | Backend | None = "mpi",
        exact: bool = False,
    ) -> Operator: ...


@collective
def _from_local(A_local: ArrayLike, *, backend: str | Backend | None = "mpi", exact: bool = False) -> Operator:
    """Make an operator of rows that the ranks of the mpi backend have already; every rank calls it.

    Parameters
    ----------
    A_local : array_like, shape (m of this rank, n)
        The rows of this rank, not copied; m may differ between ranks, and be 0.
    backend : str or MPI
    exact : bool
        As in `operator`.

    Returns
    -------
    Operator
        Of shape (sum of all m, n). Its products take what every rank has, or a `DistributedArray`. The columns are
        distributed as the rows are, if there are as many; otherwise in blocks whose lengths differ by at most one.

    Raises
    ------
    ValueError
        On every rank, if the numbers of columns or the dtypes differ.
    BackendUnavailable
        If the backend has no ranks, or a grid of them.

    Examples
    --------
    >>> import numpy as np, parlinalg
    >>> with parlinalg.operator.from_local(2 * np.eye(3)) as op:  # on one rank, so that this is all of it
    ...     op @ [1, 2, 3]
    array([2., 4., 6.])
    """
    function = "operator.from_local"
    rows = as_operand(function, "A_local", A_local)
    plan = _plan(function, "A_local", rows, exact)
    ranks = with_ranks(function, backend)
    ranks.agree(f"{function}: {rows.shape[1]} columns, {rows.dtype}, exact={plan.exact}")
    m = sum(ranks.counts_of(len(rows)))
    choice = Choice(ranks, ranks.ranks.size, "its ranks have the rows")
    account = Account(rows, choice, bool(exact), lambda: ranks.place_local(rows))
    return Operator(account, (m, rows.shape[1]), rows.dtype.newbyteorder("="))


def _with_from_local(function: Callable[P, Operator]) -> _OperatorFunction[P]:
    vars(function)["from_local"] = _from_local
    return cast("_OperatorFunction[P]", function)


@_with_from_local
@collective
def operator(
    A: Operand | str | os.PathLike[str],
    *,
    backend: str | Backend | None = None,
    workers: int | None = None,
    exact: bool = False,
) -> Operator:
    """Put a matrix on its workers once, for many products.

    Parameters
    ----------
    A : array_like or pyopencl.array.Array, shape (m, n), or path of a .npy file
        Of a file, each worker maps only its own rows. Rows that ranks of MPI have already are given to
        ``operator.from_local``. Do not change an array while the operator is in use: backends
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
    matrix: Any = mapped(A) if isinstance(A, (str, os.PathLike)) else A
    if is_there(matrix):
        backend = backend_of("operator", backend, matrix)
    elif type(matrix) is not np.memmap:
        matrix = as_operand("operator", "A", matrix)
    as_operand("operator", "A", matrix, there=True)
    exact = wants_exact(exact)
    plan = _plan("operator", "A", matrix, exact)
    layout = "rows" if is_there(matrix) else layout_of(matrix, matrix.dtype)
    choice = engage("operator", plan, backend, workers, (matrix.dtype,), layout=layout, stays=True)
    account = Account(matrix, choice, exact, lambda: choice.backend.place(matrix, choice.workers))
    return Operator(account, (matrix.shape[0], matrix.shape[1]), matrix.dtype.newbyteorder("="))


def _plan(function: str, name: str, matrix: Array, exact: bool) -> MatvecPlan:
    if matrix.ndim != 2:
        raise ValueError(f"{function}: {name} has shape {matrix.shape}; it must have 2 dimensions")
    plan = plan_matvec(matrix.shape, matrix.dtype, matrix.shape[1:], matrix.dtype, exact=bool(exact))
    return replace(plan, exact=True) if exact else plan  # also of integers, which may be multiplied by floats
