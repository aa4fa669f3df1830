"""Products: arrays in, array out. Knows no backend's name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _small
from ._kernels import ieee754
from .backends._base import Backend
from .device_arrays import multiply_there
from .dispatch import Choice, collective, engage, wants_exact
from .model import layout_of
from .operands import MOST_AXES, Operand, as_dtype, as_operand, check_out, is_there, may_overlap
from .plan import MatvecPlan, plan_matvec, plan_vecdot, plan_vecmat
from .split import pieces

__all__ = ["matvec", "vecdot", "vecmat"]

Array = NDArray[Any]

CAST_AT_A_TIME = 1 << 18  # elements of A that are cast at a time: 2 MB of float64


@_small.short_cut_of_products
@collective
def matvec(
    A: Operand,
    x: Operand,
    /,
    out: Array | None = None,
    *,
    dtype: DTypeLike | None = None,
    exact: bool = False,
    backend: str | Backend | None = None,
    workers: int | None = None,
) -> Array:
    """Matrix-vector product, ``y[..., i] = sum_j A[..., i, j] * x[..., j]``, with the rules of ``numpy.matvec``.

    Parameters
    ----------
    A : array_like, shape (..., m, n), or pyopencl.array.Array, shape (m, n)
        Any numeric dtype, byte order and strides; not copied.
    x : array_like, shape (..., n), or pyopencl.array.Array, shape (n,)
        Leading dimensions of A and x are broadcast together. Where A or x is an array of pyopencl, backend "opencl"
        computes, in its context; the result is what x is, and may be returned before it is computed.
    out : ndarray, shape (..., m), optional
        Where the result is written; returned as it is. It may overlap A and x.
    dtype : dtype, optional
        The dtype to compute in, to which A and x are cast by the rule ``same_kind``. None: NumPy's promotion of
        both dtypes. Integers wrap around; bool is or of ands; float16 is accumulated in float32.
    exact : bool
        Round each element of the exact product once, to nearest, ties to even: the same bits on every backend, for
        every number of workers and in every layout. Integers and bool are exact anyway.
    backend : str or Backend, optional
        A name such as ``"openmp"``, an instance, or ``"auto"``. None: what `set_backend` or ``PARLINALG_BACKEND``
        say, otherwise ``"auto"``, which chooses by size.
    workers : int, optional
        None: the default of the backend or of this host. Negative: counted from the number of CPUs, as in SciPy, so
        that -1 is all of them. Not 0.

    Returns
    -------
    ndarray, shape (..., m)

    Raises
    ------
    TypeError
        For operands that are not numeric, object arrays, masked elements, or a `dtype` or `out` of another kind; for
        longdouble if `exact`.
    ValueError
        For shapes that do not fit, an `out` that cannot be written, an unknown backend, or a number of workers that
        it cannot use.
    BackendUnavailable
        If the backend that was asked for cannot run here, or cannot run this call.
    BackendError
        If a worker died.

    See Also
    --------
    operator : for many products with the same matrix.

    Notes
    -----
    Reads A once, in place. Overflow and invalid operations give infinities and NaNs; only ``backend="numpy"`` reports
    them as ``numpy.errstate`` says. Errors are within ``gamma_n * (abs(A) @ abs(x))``, ``gamma_n = n*u / (1 - n*u)``
    (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1); the last bits may depend on the
    backend, the processor and the number of workers.

    With `exact`, each product is split into its rounded value and the error of that, by a fused multiply-add (Ogita,
    Rump, Oishi 2005, Accurate sum and dot product, section 2), and both are added up as `psum` does. Intermediate
    results neither overflow nor underflow; overflow of the result, and infinities of both signs, are reported as
    ``numpy.errstate`` says, on every backend.

    Examples
    --------
    >>> import parlinalg
    >>> parlinalg.matvec([[1, 2], [3, 4]], [10, 1])
    array([12, 34])
    >>> parlinalg.matvec([[1e16, 1.0, -1e16]], [1.0, 1.0, 1.0], exact=True)
    array([1.])
    """
    there = is_there(A) or is_there(x)
    A = as_operand("matvec", "A", A, there=there)
    x = as_operand("matvec", "x", x, there=there)
    plan = plan_matvec(A.shape, A.dtype, x.shape, x.dtype, as_dtype("matvec", dtype), wants_exact(exact))
    if there:
        product: Array = multiply_there("matvec", plan, A, x, backend, workers, out=out)
        return product
    choice = engage("matvec", plan, backend, workers, (A.dtype, x.dtype), layout=layout_of(A, plan.dtype))
    if out is None:
        out = np.empty(plan.shape, plan.dtype)
        _multiply(plan, choice, A, x, out)
        return out
    return _multiply_into("matvec", plan, choice, A, x, out)


def _multiply_into(function: str, plan: MatvecPlan, choice: Choice, A: Array, x: Array, out: Array) -> Array:
    check_out(function, out, plan.shape, plan.dtype)
    if out.dtype == plan.dtype and not may_overlap(out, A, x):
        _multiply(plan, choice, A, x, out.view(np.ndarray))
    else:
        result = np.empty(plan.shape, plan.dtype)
        _multiply(plan, choice, A, x, result)
        np.copyto(out, result, casting="same_kind")
    return out


def _multiply(plan: MatvecPlan, choice: Choice, A: Array, x: Array, out: Array) -> None:
    cast_A, cast_x = plan.casts
    if cast_x:
        with ieee754():
            x = x.astype(plan.dtype)
    if not cast_A:
        _call(plan, choice, A, x, out)
        return
    A = np.broadcast_to(A, (*plan.batch, plan.m, plan.n))
    x = np.broadcast_to(x, (*plan.batch, plan.n))
    for rows in pieces(plan.shape, max(1, CAST_AT_A_TIME // max(1, plan.n))):
        with ieee754():
            cast = A[rows].astype(plan.dtype)
        _call(plan, choice, cast, x[rows[:-1]], out[rows])


def _call(plan: MatvecPlan, choice: Choice, A: Array, x: Array, out: Array) -> None:
    if plan.exact:
        choice.backend.matvec(A, x, out, choice.workers, exact=True)
    else:  # so that a backend without exact products need not name them
        choice.backend.matvec(A, x, out, choice.workers)


@_small.short_cut_of_vecmats
@collective
def vecmat(
    x: Operand,
    A: Operand,
    /,
    out: Array | None = None,
    *,
    dtype: DTypeLike | None = None,
    exact: bool = False,
    backend: str | Backend | None = None,
    workers: int | None = None,
) -> Array:
    """Vector-matrix product, ``y[..., j] = sum_i conj(x[..., i]) * A[..., i, j]``, as ``numpy.vecmat``.

    Parameters
    ----------
    x : array_like, shape (..., m)
    A : array_like, shape (..., m, n)
    out : ndarray, shape (..., n), optional
    dtype, exact, backend, workers
        As in `matvec`, and so is what is raised.

    Returns
    -------
    ndarray, shape (..., n)

    Examples
    --------
    >>> import parlinalg
    >>> parlinalg.vecmat([10, 1], [[1, 2], [3, 4]])
    array([13, 24])
    """
    there = is_there(x) or is_there(A)
    x = as_operand("vecmat", "x", x, there=there)
    A = as_operand("vecmat", "A", A, there=there)
    plan = plan_vecmat(x.shape, x.dtype, A.shape, A.dtype, as_dtype("vecmat", dtype), wants_exact(exact))
    if there:
        product: Array = multiply_there("vecmat", plan, A, x, backend, workers, out=out)
        return product
    choice = engage("vecmat", plan, backend, workers, (x.dtype, A.dtype), layout=layout_of(A.mT, plan.dtype))
    given = np.empty(plan.shape, plan.dtype) if out is None else out
    return _multiply_into("vecmat", plan, choice, A.mT, _conjugate(x), given)


@_small.short_cut_of_dots
@collective
def vecdot(
    x: Operand,
    y: Operand,
    /,
    out: Array | None = None,
    *,
    dtype: DTypeLike | None = None,
    exact: bool = False,
    backend: str | Backend | None = None,
    workers: int | None = None,
) -> Any:
    """Dot product of vectors, ``sum_i conj(x[..., i]) * y[..., i]``, as ``numpy.vecdot`` along the last axis.

    Parameters
    ----------
    x, y : array_like, shape (..., n)
        Leading dimensions are broadcast together.
    out : ndarray, shape (...), optional
    dtype, exact, backend, workers
        As in `matvec`, and so is what is raised.

    Returns
    -------
    ndarray or scalar, shape (...)
        A scalar where that is ``()`` and `out` is None.

    Examples
    --------
    >>> import parlinalg
    >>> int(parlinalg.vecdot([1, 2, 3], [4, 5, 6]))
    32
    >>> float(parlinalg.vecdot([1e200, 1e200], [1e200, -1e200], exact=True))
    0.0
    """
    there = is_there(x) or is_there(y)
    x = as_operand("vecdot", "x", x, there=there)
    y = as_operand("vecdot", "y", y, there=there)
    plan = plan_vecdot(x.shape, x.dtype, y.shape, y.dtype, as_dtype("vecdot", dtype), wants_exact(exact))
    if there:
        row = y.reshape(1, -1) if y.ndim == 1 else y
        if out is not None:
            check_out("vecdot", out, plan.batch, plan.dtype)
        column = None if out is None else out[..., np.newaxis]
        result = multiply_there("vecdot", plan, row, x, backend, workers, out=column)
        return result.reshape(()) if is_there(result) else result[0] if out is None else out
    if y.ndim == MOST_AXES:  # rows need one more
        raise ValueError(f"vecdot: y has {MOST_AXES} dimensions; at most {MOST_AXES - 1} are accepted: reshape it")
    choice = engage("vecdot", plan, backend, workers, (x.dtype, y.dtype))
    rows = y[..., np.newaxis, :]
    if out is None:
        return _multiply_into("vecdot", plan, choice, rows, _conjugate(x), np.empty(plan.shape, plan.dtype))[..., 0][()]
    check_out("vecdot", out, plan.batch, plan.dtype)
    _multiply_into("vecdot", plan, choice, rows, _conjugate(x), out[..., np.newaxis])
    return out


def _conjugate(x: Array) -> Array:
    return x.conj() if x.dtype.kind == "c" else x
