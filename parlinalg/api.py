"""The public functions: arrays in, array out. Knows no backend's name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _small
from .backends._base import Backend
from .dispatch import Choice, choose
from .exact import digits, round_states
from .operands import as_dtype, as_operand, as_where, check_out, may_overlap, real_view
from .plan import MatvecPlan, SumPlan, plan_matvec, plan_sum

__all__ = ["explain", "matvec", "psum"]

Array = NDArray[Any]
Index = tuple[Any, ...]

STATES_AT_A_TIME = 4096  # rows summed at a time: 2.4 MB of states
CAST_AT_A_TIME = 1 << 18  # elements that are cast or masked at a time: 2 MB of float64


@_small.short_cut
def matvec(
    A: ArrayLike,
    x: ArrayLike,
    /,
    out: Array | None = None,
    *,
    dtype: DTypeLike | None = None,
    backend: str | Backend | None = None,
    workers: int | None = None,
) -> Array:
    """Matrix-vector product, ``y[..., i] = sum_j A[..., i, j] * x[..., j]``, with the rules of ``numpy.matvec``.

    Parameters
    ----------
    A : array_like, shape (..., m, n)
        Any numeric dtype, byte order and strides; not copied.
    x : array_like, shape (..., n)
        Leading dimensions of A and x are broadcast together.
    out : ndarray, shape (..., m), optional
        Where the result is written; returned as it is. It may overlap A and x.
    dtype : dtype, optional
        The dtype to compute in, to which A and x are cast by the rule ``same_kind``. None: NumPy's promotion of
        both dtypes. Integers wrap around; bool is or of ands; float16 is accumulated in float32.
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
        For operands that are not numeric, object arrays, masked elements, or a `dtype` or `out` of another kind.
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

    Examples
    --------
    >>> import parlinalg
    >>> parlinalg.matvec([[1, 2], [3, 4]], [10, 1])
    array([12, 34])
    """
    A = as_operand("matvec", "A", A)
    x = as_operand("matvec", "x", x)
    plan = plan_matvec(A.shape, A.dtype, x.shape, x.dtype, as_dtype("matvec", dtype))
    choice = choose(plan, backend, workers)
    if out is None:
        out = np.empty(plan.shape, plan.dtype)
        _multiply(plan, choice, A, x, out)
        return out
    check_out("matvec", out, plan.shape, plan.dtype)
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
        x = x.astype(plan.dtype)
    if not cast_A:
        choice.backend.matvec(A, x, out, choice.workers)
        return
    A = np.broadcast_to(A, (*plan.batch, plan.m, plan.n))
    x = np.broadcast_to(x, (*plan.batch, plan.n))
    for rows in _pieces(plan.shape, max(1, CAST_AT_A_TIME // max(1, plan.n))):
        choice.backend.matvec(A[rows].astype(plan.dtype), x[rows[:-1]], out[rows], choice.workers)


def psum(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
    keepdims: bool = False,
    initial: Any = 0,
    where: ArrayLike = True,
    *,
    backend: str | Backend | None = None,
    workers: int | None = None,
) -> Any:
    """Sum of array elements, rounded once.

    Every backend and every number of workers returns the same bits: the sum of the real numbers in `a`, rounded to
    nearest, ties to even, in the output dtype. Integers wrap around, as in NumPy.

    Parameters
    ----------
    a : array_like, any shape, byte order and strides
        Not copied.
    axis : None, int or tuple of int
        Axes to sum over; None: all.
    dtype : dtype, optional
        Each element is cast to it first, as in NumPy; then the sum is exact. None: that of ``numpy.sum``, which
        widens bool and small integers to the platform's integer.
    out : ndarray, optional
        Where the result is written; returned as it is. If `dtype` is None, a float sum is rounded once, to the
        dtype of `out`, and integers are cast to it first where it is a float.
    keepdims : bool
        Whether the axes that are summed over stay, with length 1.
    initial : scalar
        One more addend of each sum.
    where : array_like of bool, broadcast to the shape of `a`
        Which elements to add.
    backend, workers
        As in `matvec`.

    Returns
    -------
    ndarray or scalar
        Shape of `a` without `axis` (with length 1 there if `keepdims`); a scalar where that is ``()`` and `out` is
        None.

    Raises
    ------
    TypeError
        For longdouble, whose precision differs between platforms, and for what is not numeric.
    ValueError, BackendUnavailable, BackendError
        As in `matvec`.

    Notes
    -----
    The sum of no elements, of negative zeros, or one that cancels exactly is +0.0. Any NaN gives the one quiet NaN
    0x7ff8000000000000, as do infinities of both signs, with the `RuntimeWarning` that NumPy gives. Intermediate
    results cannot overflow. Algorithm: a superaccumulator of radix 2**32 (Neal 2015, arXiv:1505.05571, section 3).

    Examples
    --------
    >>> import parlinalg
    >>> float(parlinalg.psum([1e308, 1e308, -1e308]))
    1e+308
    >>> parlinalg.psum([[1, 2], [3, 4]], axis=0)
    array([4, 6])
    """
    a = as_operand("psum", "a", a)
    given = as_dtype("psum", dtype)
    if given is None and a.dtype.kind in "biu" and isinstance(out, np.ndarray) and out.dtype.kind in "fc":
        given = out.dtype  # as in NumPy; floats need no cast, since their sum is exact
    plan = plan_sum(a.shape, a.dtype, _axis(axis), given, bool(keepdims))
    mask = as_where("psum", where, a.shape)
    choice = choose(plan, backend, workers)
    if out is not None:
        check_out("psum", out, plan.shape, plan.dtype)
    target = _rounding_dtype(plan, out if dtype is None else None)
    addend = _initial(initial, np.promote_types(plan.dtype, target))
    if out is not None and out.dtype == target and not may_overlap(out, a, *(() if mask is None else (mask,))):
        result = out.view(np.ndarray)
    else:
        result = np.empty(plan.shape, target)
    _sum(plan, choice, a, mask, addend, result)
    if out is None:
        return result[()]
    if not np.may_share_memory(result, out):
        np.copyto(out, result, casting="same_kind")
    return out


def _axis(axis: Any) -> int | tuple[int, ...] | None:
    if axis is None:
        return None
    if isinstance(axis, (tuple, list)):
        return tuple(_integer_axis(one) for one in axis)
    return _integer_axis(axis)


def _integer_axis(axis: Any) -> int:
    try:
        index: int = axis.__index__()
    except (AttributeError, TypeError):
        raise TypeError(f"psum: axis is {axis!r}; it must be None, an int or a tuple of ints") from None
    return index


def _initial(initial: Any, dtype: np.dtype) -> Array:
    if dtype.kind in "iu" and isinstance(initial, (int, float)):
        limits = np.iinfo(dtype)
        if not limits.min <= initial <= limits.max:
            raise ValueError(
                f"psum: initial is {initial!r}; a sum of dtype {dtype} can hold {limits.min} to {limits.max}"
            )
    value = as_operand("psum", "initial", initial)
    if value.shape != ():
        raise ValueError(f"psum: initial has shape {value.shape}; it must be a scalar")
    if not (isinstance(initial, (bool, int, float)) or np.can_cast(value.dtype, dtype, "same_kind")):
        raise TypeError(f"psum: initial has dtype {value.dtype}, which cannot be cast to {dtype} by 'same_kind'")
    return value.astype(dtype)


def _rounding_dtype(plan: SumPlan, out: Array | None) -> np.dtype:
    """Float sums are rounded directly to the dtype of `out`, so that they are rounded only once."""
    if out is not None and plan.dtype.kind in "fc" and out.dtype.kind == plan.dtype.kind and out.dtype.char not in "gG":
        return out.dtype.newbyteorder("=")
    return plan.dtype


def _sum(plan: SumPlan, choice: Choice, a: Array, mask: Array | None, addend: Array, result: Array) -> None:
    a = a.transpose(plan.order)
    if mask is not None:
        mask = mask.transpose(plan.order)
    kept = plan.kept
    result = result.reshape(a.shape[:kept])
    for rows in _pieces(a.shape[:kept], STATES_AT_A_TIME):
        part = a[rows]
        if mask is None and plan.cast is None:
            states = _states(choice, part, kept)
        else:
            cast = plan.cast or a.dtype.newbyteorder("=")
            states = _states_of_pieces(choice, part, kept, cast, None if mask is None else mask[rows])
        if addend:
            states += _states(choice, addend, 0)
        result[rows] = _round(states, result.dtype)


def _states(choice: Choice, a: Array, kept: int) -> NDArray[np.int64]:
    if a.dtype.kind == "c":
        return choice.backend.sum_states(real_view(a, kept), kept + 1, choice.workers)
    return choice.backend.sum_states(a, kept, choice.workers)


def _states_of_pieces(choice: Choice, a: Array, kept: int, cast: np.dtype, mask: Array | None) -> NDArray[np.int64]:
    """The states of elements that are cast, or masked by zeros, a bounded piece at a time."""
    parts = (2,) if cast.kind == "c" else ()
    states = np.zeros((*a.shape[:kept], *parts, digits(cast)), np.int64)
    for index in _pieces(a.shape, CAST_AT_A_TIME):
        piece = a[index].astype(cast, copy=False)
        if mask is not None:
            piece = np.where(mask[index], piece, cast.type(0))
        states[index[:kept]] += _states(choice, piece, kept)
    return states


def _round(states: NDArray[np.int64], dtype: np.dtype) -> Array:
    if dtype.kind == "c":
        return round_states(states, dtype.type(0).real.dtype).view(dtype)[..., 0]
    return round_states(states, dtype)


def explain(A: ArrayLike, x: ArrayLike, *, backend: str | Backend | None = None, workers: int | None = None) -> Choice:
    """Who would compute ``matvec(A, x)``, with how many workers, and why; nothing is computed.

    Parameters are those of `matvec`, and so is what is raised.

    Examples
    --------
    >>> import parlinalg
    >>> print(parlinalg.explain([[1.0, 2.0]], [1.0, 1.0], backend="numpy"))
    numpy, 1 worker: asked for
    """
    A = as_operand("matvec", "A", A)
    x = as_operand("matvec", "x", x)
    return choose(plan_matvec(A.shape, A.dtype, x.shape, x.dtype), backend, workers)


def _pieces(shape: tuple[int, ...], most: int) -> Iterator[Index]:
    """Indices of contiguous pieces of an array of `shape`, each of at most `most` elements (one row at least)."""
    axis = len(shape)
    while axis > 0 and math.prod(shape[axis - 1 :]) <= most:
        axis -= 1
    if axis == 0:
        yield (...,)
        return
    step = max(1, most // max(1, math.prod(shape[axis:])))
    for lead in np.ndindex(*shape[: axis - 1]):
        for first in range(0, shape[axis - 1], step):
            yield (*(slice(i, i + 1) for i in lead), slice(first, first + step), *(slice(None),) * (len(shape) - axis))
