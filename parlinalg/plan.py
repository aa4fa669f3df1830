"""NumPy's rules for one call, as values: shapes, dtypes and axes, but no data.

A plan depends on shapes and dtypes only, so it is cached, and tested without a worker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import numpy as np

__all__ = ["MatvecPlan", "SumPlan", "plan_matvec", "plan_sum"]

Shape = tuple[int, ...]

NUMERIC_KINDS = "biufc"


@dataclass(frozen=True, slots=True)
class MatvecPlan:
    """What ``matvec(A, x)`` computes: ``y[..., i] = sum_j A[..., i, j] * x[..., j]``."""

    batch: Shape  # what the leading axes of A and x broadcast to
    m: int  # rows
    n: int  # columns
    dtype: np.dtype  # of the products, their sums and y
    casts: tuple[bool, bool]  # whether A, x must be cast element by element because dtype holds less than they do

    @property
    def shape(self) -> Shape:
        """Shape of y."""
        return (*self.batch, self.m)

    @property
    def elements(self) -> int:
        """Multiplications to do."""
        return math.prod(self.batch) * self.m * self.n


@dataclass(frozen=True, slots=True)
class SumPlan:
    """What ``psum(a)`` computes: the sum over the last axes of ``a.transpose(order)``, from axis `kept` on."""

    order: tuple[int, ...]  # axes of a: first the kept ones, then those that are summed over
    kept: int  # how many are kept
    shape: Shape  # of the result
    dtype: np.dtype  # of the result
    cast: np.dtype | None  # what each element is cast to before it is added, or None
    elements: int  # how many are added up

    @property
    def states(self) -> np.dtype:
        """The real dtype whose kind of state carries the sum: int64, or a float of any size."""
        return np.dtype(np.float64) if self.dtype.kind in "fc" else np.dtype(np.int64)


@lru_cache(maxsize=1024)
def plan_matvec(
    A_shape: Shape, A_dtype: np.dtype, x_shape: Shape, x_dtype: np.dtype, dtype: np.dtype | None = None
) -> MatvecPlan:
    """Plan a product, with the rules of ``numpy.matvec``.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    TypeError
        If a dtype is not numeric, or cannot be cast to `dtype` by the rule ``same_kind``.
    """
    if len(A_shape) < 2:
        raise ValueError(f"matvec: A has shape {A_shape}; it must have at least 2 dimensions")
    if len(x_shape) < 1:
        raise ValueError("matvec: x is a scalar; it must have at least 1 dimension")
    *A_batch, m, n = A_shape
    *x_batch, length = x_shape
    if length != n:
        raise ValueError(f"matvec: x has shape {x_shape}; A has shape {A_shape}, so x must have {(*x_batch, n)}")
    batch = _broadcast(A_batch, x_batch)
    if batch is None:
        raise ValueError(f"matvec: the leading dimensions of A {A_shape} and x {x_shape} do not broadcast together")
    A_native, x_native = A_dtype.newbyteorder("="), x_dtype.newbyteorder("=")
    loop = np.result_type(A_native, x_native) if dtype is None else _numeric("matvec", dtype)
    casts = tuple(not np.can_cast(given, loop, "safe") for given in (A_native, x_native))
    for name, given in (("A", A_native), ("x", x_native)):
        if not np.can_cast(given, loop, "same_kind"):
            raise TypeError(
                f"matvec: {name} has dtype {given}, which cannot be cast to dtype={loop} by the rule 'same_kind'"
            )
    return MatvecPlan(batch, m, n, loop, (casts[0], casts[1]))


def _broadcast(one: list[int], other: list[int]) -> Shape | None:
    """As ``numpy.broadcast_shapes``, which ends at 32 dimensions; None if they do not fit."""
    pairs = list(zip_longest(reversed(one), reversed(other), fillvalue=1))
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        return None
    return tuple(b if a == 1 else a for a, b in reversed(pairs))


@lru_cache(maxsize=1024)
def plan_sum(
    shape: Shape,
    given: np.dtype,
    axis: int | tuple[int, ...] | None = None,
    dtype: np.dtype | None = None,
    keepdims: bool = False,
) -> SumPlan:
    """Plan a sum over `axis`, with the result dtype of ``numpy.sum``.

    Raises
    ------
    numpy.exceptions.AxisError
        If an axis is out of range.
    ValueError
        If an axis is named twice.
    TypeError
        If a dtype is not numeric, or is longdouble, whose rounding differs between platforms.
    """
    native = given.newbyteorder("=")
    result = _sum_dtype(native) if dtype is None else _numeric("psum", dtype)
    for name, one in (("a", native), ("dtype", result)):
        if one.char in "gG":
            raise TypeError(
                f"psum: {name} is {one}, whose precision differs between platforms; "
                f"accepted are bool, integers, float16 to float64 and complex; cast it first, for example to float64"
            )
    summed = _axes(axis, len(shape))
    kept = [i for i in range(len(shape)) if i not in summed]
    if keepdims:
        out_shape = tuple(1 if i in summed else length for i, length in enumerate(shape))
    else:
        out_shape = tuple(shape[i] for i in kept)
    cast = None if _sums_as_it_is(native, result) else result
    return SumPlan((*kept, *summed), len(kept), out_shape, result, cast, math.prod(shape))


def _axes(axis: int | tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    if axis is None or (ndim == 0 and axis in (0, -1)):  # of a scalar NumPy lets these two through
        return tuple(range(ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    for one in given:
        if not -ndim <= one < ndim:
            raise np.exceptions.AxisError(one, ndim, "psum: axis")
    axes = tuple(sorted(one % ndim for one in given))
    if len(set(axes)) < len(axes):
        raise ValueError(f"psum: axis={axis} names an axis twice")
    return axes


def _sum_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype in which ``numpy.sum`` adds: integers become at least as wide as the platform's."""
    if dtype.kind in "bi":
        return np.promote_types(dtype, np.int_)
    if dtype.kind == "u":
        return np.promote_types(dtype, np.uint)
    return dtype


def _sums_as_it_is(given: np.dtype, result: np.dtype) -> bool:
    """Whether casting each element first would change no value, so that it need not be done."""
    if given.kind in "biu":
        return result.kind in "iu"  # both wrap around at the same place
    return result.kind == given.kind and np.can_cast(given, result, "safe")


def _numeric(function: str, dtype: np.dtype) -> np.dtype:
    if dtype.kind not in NUMERIC_KINDS:
        raise TypeError(f"{function}: dtype={dtype} is not numeric; accepted are bool, integers, floats and complex")
    return dtype.newbyteorder("=")
