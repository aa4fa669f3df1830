"""``psum``: arrays in, exact sums out. Knows no backend's name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _small
from .backends._base import STATES_AT_A_TIME, Backend
from .device_arrays import sum_there
from .dispatch import Choice, collective, engage
from .distributed import DistributedArray
from .operands import Operand, as_dtype, as_operand, as_where, check_out, is_there, may_overlap, real_view
from .plan import SumPlan, plan_sum
from .split import pieces
from .states import CAST_AT_A_TIME, addends_of, round_sums, states_of, states_of_pieces

__all__ = ["psum"]

Array = NDArray[Any]

MOST_IN_A_ROW = 1 << 10  # elements of a sum, of which copies are worth it


@_small.short_cut_of_sums
@collective
def psum(
    a: Operand,
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
        Not copied. Or a `DistributedArray`, all of whose elements are summed, by the ranks that have them. Or a
        contiguous pyopencl.array.Array, whose last axes are summed by its device.
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

    See Also
    --------
    PartialSum : for data that come in pieces, or lie on several computers.

    Notes
    -----
    The sum of no elements, of negative zeros, or one that cancels exactly is +0.0. Any NaN gives the one quiet NaN
    0x7ff8000000000000, as do infinities of both signs, with the `RuntimeWarning` that NumPy gives. Intermediate
    results cannot overflow. Algorithm: elements are split at fixed powers of two, exactly, and the parts are added as
    integers (Demmel, Nguyen 2015, Parallel reproducible summation), into a superaccumulator of radix 2**32 (Neal 2015,
    arXiv:1505.05571, section 3).

    Examples
    --------
    >>> import parlinalg
    >>> float(parlinalg.psum([1e308, 1e308, -1e308]))
    1e+308
    >>> parlinalg.psum([[1, 2], [3, 4]], axis=0)
    array([4, 6])
    """
    if isinstance(a, DistributedArray):
        others = out is not None, keepdims, initial != 0, where is not True, backend is not None, workers is not None
        return _sum_of_distributed(a, axis, dtype, *others)
    if is_there(a):
        plain = out is None and not keepdims and np.ndim(initial) == 0 and not initial and where is True
        return sum_there(a, _axis(axis), as_dtype("psum", dtype), backend, workers, others=not plain)
    a = as_operand("psum", "a", a)
    given = as_dtype("psum", dtype)
    if given is None and a.dtype.kind in "biu" and isinstance(out, np.ndarray) and out.dtype.kind in "fc":
        given = out.dtype  # as in NumPy; floats need no cast, since their sum is exact
    plan = plan_sum(a.shape, a.dtype, _axis(axis), given, bool(keepdims))
    mask = as_where("psum", where, a.shape)
    if out is not None:
        check_out("psum", out, plan.shape, plan.dtype)
    target = _rounding_dtype(plan, out if dtype is None else None)
    addend = _initial(initial, np.promote_types(plan.dtype, target))
    choice = engage(
        "psum", plan, backend, workers, (a.dtype, target), mask is not None, bool(addend), layout=_layout(a)
    )
    if out is not None and out.dtype == target and not may_overlap(out, a, *(() if mask is None else (mask,))):
        result = out.view(np.ndarray)
    else:
        result = np.empty(plan.shape, target, order="F" if a.flags.fnc else "C")
    _sum(plan, choice, a, mask, addend, result)
    if out is None:
        return result[()]
    if not np.may_share_memory(result, out):
        np.copyto(out, result, casting="same_kind")
    return out


def _sum_of_distributed(a: DistributedArray, axis: Any, dtype: DTypeLike | None, *others: bool) -> Any:
    if any(others) or _axis(axis) not in (None, *((0, -1) if a.ndim == 1 else ())):
        raise ValueError("psum: a is a DistributedArray, of which all elements are summed; pass nothing else but dtype")
    return a.sum(dtype)


def _layout(a: Array) -> str:
    return "rows" if a.flags.forc and a.flags.aligned and a.dtype.isnative else "other"


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
    """One more addend; in a sum of integers it must be one that the dtype can hold."""
    if type(initial) is int and initial == 0:
        return np.zeros((), dtype)
    number = initial
    if not isinstance(initial, (int, float)):
        value = as_operand("psum", "initial", initial)
        if value.shape != ():
            raise ValueError(f"psum: initial has shape {value.shape}; it must be a scalar")
        if value.dtype.kind == "c" and dtype.kind != "c":
            raise TypeError(f"psum: initial has dtype {value.dtype}, which cannot be cast to {dtype} by 'same_kind'")
        number = value[()] if value.dtype.char in "gG" else value.item()
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not limits.min <= number <= limits.max:
            raise ValueError(
                f"psum: initial is {initial!r}; a sum of dtype {dtype} can hold {limits.min} to {limits.max}"
            )
        if number != int(number):
            raise TypeError(f"psum: initial is {initial!r}, which is no integer; the sum has dtype {dtype}")
        number = int(number)
    elif isinstance(number, int) and dtype.kind in "fc":
        number = _to_float(number, initial)
    return np.asarray(number).astype(dtype)


def _to_float(number: int, initial: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ValueError(f"psum: initial is {initial!r}, which no float can hold") from None


def _rounding_dtype(plan: SumPlan, out: Array | None) -> np.dtype:
    """Float sums are rounded directly to the dtype of `out`, so that they are rounded only once."""
    if out is not None and plan.dtype.kind in "fc" and out.dtype.kind == plan.dtype.kind and out.dtype.char not in "gG":
        return out.dtype.newbyteorder("=")
    return plan.dtype


def _sum(plan: SumPlan, choice: Choice, a: Array, mask: Array | None, addend: Array, result: Array) -> None:
    a = a.transpose(plan.order)
    kept = plan.kept
    result = result.reshape(a.shape[:kept])
    if mask is not None:
        mask = mask.transpose(plan.order)
    if result.dtype.kind in "fc":
        if mask is None and plan.cast is None and not addend:
            _write(choice, a, kept, result)
            return
        if math.prod(a.shape[kept:]) <= MOST_IN_A_ROW:
            _write_pieces(plan, choice, a, mask, addend, result)
            return
    for rows in pieces(a.shape[:kept], STATES_AT_A_TIME):
        part = a[rows]
        if mask is None and plan.cast is None:
            states = states_of(choice, part, kept)
        else:
            states = states_of_pieces(choice, part, kept, _cast_of(plan, a), None if mask is None else mask[rows])
        if addend:
            states += states_of(choice, addend, 0)
        result[rows] = round_sums(states, result.dtype)


def _write_pieces(plan: SumPlan, choice: Choice, a: Array, mask: Array | None, addend: Array, result: Array) -> None:
    """Copy some rows at a time as they are added, with `addend`, since states of many short sums take longer."""
    kept = plan.kept
    each = max(1, CAST_AT_A_TIME // max(1, math.prod(a.shape[kept:])))
    for rows in pieces(result.shape, each):
        part = addends_of(a[rows], _cast_of(plan, a), None if mask is None else mask[rows])
        if addend:
            flat = part.reshape(*part.shape[:kept], math.prod(part.shape[kept:]))
            last = np.broadcast_to(addend, (*part.shape[:kept], 1))
            part = np.concatenate([flat, last], axis=-1)
        _write(choice, part, kept, result[rows])


def _cast_of(plan: SumPlan, a: Array) -> np.dtype:
    return plan.cast or a.dtype.newbyteorder("=")


def _write(choice: Choice, a: Array, kept: int, result: Array) -> None:
    if a.dtype.kind == "c":
        choice.backend.write_sums(real_view(a, kept), kept + 1, real_view(result, kept), choice.workers)
    else:
        choice.backend.write_sums(a, kept, result, choice.workers)
