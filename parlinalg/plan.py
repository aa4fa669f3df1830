"""NumPy's rules for one call, as values: shapes, dtypes and axes, but no data.

A plan depends on shapes and dtypes only, so it is cached, and tested without a worker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import numpy as np

__all__ = [
    "MatvecPlan",
    "SumPlan",
    "dtype_of_sum",
    "plan_matvec",
    "plan_sum",
    "plan_vecdot",
    "plan_vecmat",
]

Shape = tuple[int, ...]

NUMERIC_KINDS = "biufc"


@dataclass(frozen=True, slots=True)
class MatvecPlan:
    """What ``matvec(A, x)`` computes: ``y[..., i] = sum_j A[..., i, j] * x[..., j]``; other products are its cases."""

    batch: Shape  # what the leading axes of A and x broadcast to
    m: int  # rows
    n: int  # columns
    dtype: np.dtype  # of the products, their sums and y
    casts: tuple[bool, bool]  # whether A, x must be cast element by element because dtype holds less than they do
    exact: bool = False  # whether each element of y is to be rounded once; never of integers, which are exact anyway

    @property
    def shape(self) -> Shape:
        """Shape of y."""
        return (*self.batch, self.m)

    @property
    def elements(self) -> int:
        """Multiplications to do."""
        return math.prod(self.batch) * self.m * self.n

    @property
    def itemsize(self) -> int:
        """Bytes of an element of A as it is multiplied."""
        return self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class SumPlan:
    """What ``psum(a)`` computes: the sum over the last axes of ``a.transpose(order)``, from axis `kept` on."""

    order: tuple[int, ...]  # axes of a: first the kept ones, then those that are summed over
    kept: int  # how many are kept
    shape: Shape  # of the result
    dtype: np.dtype  # of the result
    cast: np.dtype | None  # what each element is cast to before it is added, or None
    elements: int  # how many are added up
    given: np.dtype  # of a, in native byte order

    @property
    def itemsize(self) -> int:
        """Bytes of an element of a."""
        return self.given.itemsize

    @property
    def states(self) -> np.dtype:
        """The real dtype whose kind of state carries the sum: int64, or a float of any size."""
        return np.dtype(np.float64) if self.dtype.kind in "fc" else np.dtype(np.int64)


@lru_cache(maxsize=1024)
def plan_matvec(
    A_shape: Shape,
    A_dtype: np.dtype,
    x_shape: Shape,
    x_dtype: np.dtype,
    dtype: np.dtype | None = None,
    exact: bool = False,
) -> MatvecPlan:
    """Plan a product, with the rules of ``numpy.matvec``.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    TypeError
        If a dtype is not numeric, or cannot be cast to `dtype` by the rule ``same_kind``, or is longdouble although
        the product is to be `exact`.
    """
    _need_dimensions("matvec", ("A", A_shape, 2), ("x", x_shape, 1))
    *batch, m, n = A_shape
    return _product("matvec", ("A", A_shape, batch, A_dtype), ("x", x_shape, x_dtype), (m, n), dtype, exact)


@lru_cache(maxsize=1024)
def plan_vecmat(
    x_shape: Shape,
    x_dtype: np.dtype,
    A_shape: Shape,
    A_dtype: np.dtype,
    dtype: np.dtype | None = None,
    exact: bool = False,
) -> MatvecPlan:
    """Plan ``conj(x) @ A`` as the product of the transpose of A; otherwise as `plan_matvec`."""
    _need_dimensions("vecmat", ("A", A_shape, 2), ("x", x_shape, 1))
    *batch, m, n = A_shape
    return _product("vecmat", ("A", A_shape, batch, A_dtype), ("x", x_shape, x_dtype), (n, m), dtype, exact)


@lru_cache(maxsize=1024)
def plan_vecdot(
    x_shape: Shape,
    x_dtype: np.dtype,
    y_shape: Shape,
    y_dtype: np.dtype,
    dtype: np.dtype | None = None,
    exact: bool = False,
) -> MatvecPlan:
    """Plan ``sum(conj(x) * y)`` along the last axis as products of one row; otherwise as `plan_matvec`."""
    _need_dimensions("vecdot", ("x", x_shape, 1), ("y", y_shape, 1))
    *batch, n = y_shape
    return _product("vecdot", ("y", y_shape, batch, y_dtype), ("x", x_shape, x_dtype), (1, n), dtype, exact)


def _need_dimensions(function: str, *operands: tuple[str, Shape, int]) -> None:
    for name, shape, least in operands:
        if len(shape) < least:
            what = f"has shape {shape}" if shape else "is a scalar"
            raise ValueError(f"{function}: {name} {what}; it must have at least {least} dimension{'s' * (least > 1)}")


def _product(
    function: str,
    matrix: tuple[str, Shape, Sequence[int], np.dtype],  # name, shape, leading dimensions, dtype
    vector: tuple[str, Shape, np.dtype],
    size: tuple[int, int],
    dtype: np.dtype | None,
    exact: bool,
) -> MatvecPlan:
    (A, A_shape, A_batch, A_dtype), (x, x_shape, x_dtype) = matrix, vector
    if x_shape[-1] != size[1]:
        fitting = (*x_shape[:-1], size[1])
        raise ValueError(f"{function}: {x} has shape {x_shape}; {A} has shape {A_shape}, so {x} must have {fitting}")
    batch = _broadcast(A_batch, x_shape[:-1])
    if batch is None:
        raise ValueError(
            f"{function}: the leading dimensions of {A} {A_shape} and {x} {x_shape} do not broadcast together"
        )
    natives = _native(A_dtype), _native(x_dtype)
    loop = np.result_type(*natives) if dtype is None else _numeric(function, dtype)
    for name, given in zip((A, x), natives, strict=True):
        if not np.can_cast(given, loop, "same_kind"):
            raise TypeError(
                f"{function}: {name} has dtype {given}, which cannot be cast to dtype={loop} by the rule 'same_kind'"
            )
    if exact and loop.char in "gG":
        raise TypeError(
            f"{function}: exact=True is not possible in {loop}, whose precision differs between platforms; "
            f"cast the operands first, for example to float64"
        )
    casts = tuple(not np.can_cast(given, loop, "safe") for given in natives)
    return MatvecPlan(batch, *size, loop, (casts[0], casts[1]), exact and loop.kind in "fc")


def _broadcast(one: Sequence[int], other: Sequence[int]) -> Shape | None:
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
    function: str = "psum",
) -> SumPlan:
    """Plan a sum over `axis`, with the result dtype of ``numpy.sum``; errors name the `function` that is to do it.

    Raises
    ------
    numpy.exceptions.AxisError
        If an axis is out of range.
    ValueError
        If an axis is named twice.
    TypeError
        If a dtype is not numeric, or is longdouble, whose rounding differs between platforms.
    """
    native = dtype_of_sum(function, "a", given)
    result = _sum_dtype(native) if dtype is None else dtype_of_sum(function, "dtype", dtype)
    summed = _axes(axis, len(shape))
    kept = [i for i in range(len(shape)) if i not in summed]
    if keepdims:
        out_shape = tuple(1 if i in summed else length for i, length in enumerate(shape))
    else:
        out_shape = tuple(shape[i] for i in kept)
    cast = None if _sums_as_it_is(native, result) else result
    return SumPlan((*kept, *summed), len(kept), out_shape, result, cast, math.prod(shape), native)


def dtype_of_sum(function: str, name: str, dtype: np.dtype) -> np.dtype:
    """`dtype` in native byte order.

    Raises
    ------
    TypeError
        If it is not numeric, or is longdouble; the message says that argument `name` of `function` has it.
    """
    native = _numeric(function, dtype)
    if native.char in "gG":
        raise TypeError(
            f"{function}: {name} is {native}, whose precision differs between platforms; "
            f"accepted are bool, integers, float16 to float64 and complex; cast it first, for example to float64"
        )
    return native


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
    return _native(dtype)


def _native(dtype: np.dtype) -> np.dtype:
    """In native byte order; of the C types that are the same integer the one that NumPy's names stand for."""
    native = dtype.newbyteorder("=")
    if native.char in "lqLQ" and native.itemsize == 8:
        return np.dtype(np.int64 if native.kind == "i" else np.uint64)
    return native
