"""What the answers should be, by exact arithmetic: Python integers, independent of parlinalg's own code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ExactProduct", "ExactSum", "exact_matvec", "exact_sum", "gamma", "integers", "round_to", "same_bits"]

Array = NDArray[Any]

NAN_BITS = {2: 0x7E00, 4: 0x7FC00000, 8: 0x7FF8000000000000}  # the one quiet NaN of each width, in bytes


def same_bits(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether two arrays have the same shape, dtype and bits; any two NaNs of different bits differ."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.char in "gG":  # whose bytes hold padding, which means nothing
        parts = [(one.real, one.imag) for one in (a, b)]
        return all(
            np.array_equal(p, q, equal_nan=True) and np.array_equal(np.signbit(p), np.signbit(q))
            for p, q in zip(*parts, strict=True)
        )
    return a.tobytes() == b.tobytes()


def integers(a: Array) -> tuple[NDArray[Any], int]:
    """Integers and an exponent with ``a == integers * 2**exponent`` exactly; `a` is real and finite.

    Examples
    --------
    >>> integers(np.array([0.75, -2.0]))
    (array([3, -8], dtype=object), -2)
    """
    if a.dtype.kind in "biu":
        return a.astype(object) + 0, 0
    mantissa, exponent = _mantissas(a)
    if not np.count_nonzero(mantissa):
        return np.zeros(a.shape, int).astype(object), 0
    mantissa, exponent = _shortened(mantissa, exponent)
    lowest = int(exponent[mantissa != 0].min())
    shift = np.where(mantissa != 0, exponent - lowest, 0)
    return np.asarray(mantissa << shift.astype(object), dtype=object), lowest


def _mantissas(a: Array) -> tuple[NDArray[Any], NDArray[np.int64]]:
    fraction, exponent = np.frexp(a if a.dtype.char == "g" else a.astype(np.float64))
    # In two halves, because the 64 bits of a longdouble do not fit into an int64.
    high = np.floor(np.ldexp(fraction, 32))
    low = np.ldexp(fraction, 64) - np.ldexp(high, 32)
    mantissa = high.astype(np.int64).astype(object) * 2**32 + low.astype(np.int64).astype(object)
    return np.asarray(mantissa, dtype=object), np.asarray(exponent, dtype=np.int64) - 64


def _shortened(mantissa: NDArray[Any], exponent: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Without the bits that are zero in all, so that an array of small integers stays one of small integers."""
    every = 0
    for one in mantissa.flat:
        every |= int(one)
    zeros = (every & -every).bit_length() - 1
    return np.asarray(mantissa >> zeros, dtype=object), exponent + zeros


def gamma(n: int, dtype: np.dtype[Any]) -> Fraction:
    """The constant ``gamma_n = n u / (1 - n u)`` for the unit roundoff of `dtype` (Higham 2002, section 3.1)."""
    roundoff = _unit_roundoff(dtype)
    return n * roundoff / (1 - n * roundoff)


def _unit_roundoff(dtype: np.dtype[Any]) -> Fraction:
    return Fraction(1, 2 ** (np.finfo(dtype).nmant + 1))


@dataclass(frozen=True)
class ExactProduct:
    """The true ``A @ x`` and what a computed one may differ from it by."""

    dtype: np.dtype[Any]  # in which to compute
    value: NDArray[Any]  # exact; shape (..., m), or (..., m, 2) where complex: real and imaginary parts
    bound: NDArray[Any] | None  # on the error of each; None: there must be none
    limit: NDArray[Any] | None = None  # what the intermediate results can reach, if they are not exact

    def deviation(self, y: Array) -> float:
        """The largest error of `y` in units of its bound; infinite where `y` is not to be tolerated at all."""
        if y.dtype != self.dtype:
            raise AssertionError(f"dtype is {y.dtype}, expected {self.dtype}")
        parts = y if y.dtype.kind != "c" else np.stack([y.real, y.imag], axis=-1)
        if parts.shape != self.value.shape:
            raise AssertionError(f"shape is {parts.shape}, expected {self.value.shape}")
        return max((self._one(parts, index) for index in np.ndindex(parts.shape)), default=0.0)

    def rounded(self) -> Array:
        """The exact product, each element rounded once; of float or complex operands."""
        real = self.dtype.type(0).real.dtype
        parts = [_rounded(one, real) for one in self.value.flat]
        return (
            np.array(parts, real).view(self.dtype).reshape(self.value.shape[: self.value.ndim - (self.dtype != real)])
        )

    def _one(self, parts: Array, index: tuple[int, ...]) -> float:
        computed, exact = parts[index], self.value[index]
        if self.bound is None or self.limit is None:
            return 0.0 if int(computed) == int(exact) else math.inf
        bound = self.bound[index]
        if not np.isfinite(computed):  # of either sign, or NaN: partial sums may overflow to both sides
            return 0.0 if self.limit[index] > _largest(parts.dtype) else math.inf
        error = abs(_fraction(computed) - exact)
        return 0.0 if error == 0 else float(min(error / bound, Fraction(10**9))) if bound else math.inf


def _fraction(x: Any) -> Fraction:
    return Fraction(*x.as_integer_ratio())


def _rounded(x: Fraction, dtype: np.dtype[Any]) -> Any:
    """`x`, whose denominator is a power of two, to nearest even."""
    return round_to(x.numerator, 1 - x.denominator.bit_length(), dtype)[0]


def _largest(dtype: np.dtype[Any]) -> Fraction:
    """What is below it cannot overflow, even with the errors of the bound; the rest may."""
    return _fraction(np.finfo(dtype).max) * Fraction(9, 10)


def exact_matvec(A: Array, x: Array, dtype: np.dtype[Any] | None = None) -> ExactProduct:
    """The exact product of finite operands, after NumPy's cast of both to `dtype` (None: their common one).

    Parameters
    ----------
    A : shape (..., m, n)
    x : shape (..., n)

    Notes
    -----
    The bound holds for any order of the additions: ``gamma_n |A||x|``, plus half of the smallest subnormal for each
    product that may underflow. float16 is accumulated in float32 or better, then rounded once. The parts of a
    complex product are real products of length 2n (Higham 2002, section 3.6, without its square roots). Integers
    are exact modulo 2**bits; bool is or of ands.
    """
    dtype = np.result_type(A.dtype, x.dtype).newbyteorder("=") if dtype is None else dtype
    A, x = A.astype(dtype), x.astype(dtype)
    if dtype.kind in "biu":
        return ExactProduct(dtype, _wrapped(_dot(A.astype(object), x.astype(object)), dtype), None)
    if dtype.kind == "c":
        A, x = _as_real(A, x)
    (A_int, A_exponent), (x_int, x_exponent) = integers(A), integers(x)
    unit = Fraction(2) ** (A_exponent + x_exponent)
    value = _scaled(_dot(A_int, x_int), unit)
    magnitude = _scaled(_dot(abs(A_int), abs(x_int)), unit)
    if dtype.kind == "c":
        value, magnitude = (np.stack([all_[..., 0::2], all_[..., 1::2]], axis=-1) for all_ in (value, magnitude))
    bound = _bound(value, magnitude, A.shape[-1], A.dtype)
    limit = abs(value) + bound if A.dtype == np.float16 else magnitude  # its sums, in float32, cannot overflow
    if dtype.kind == "c":  # BLAS multiplies by 1 + 0j at last, and so makes a NaN of the part beside an infinity
        limit = np.broadcast_to(np.max(limit, axis=-1, keepdims=True, initial=0), limit.shape)
    return ExactProduct(dtype, value, bound, np.asarray(limit, dtype=object))


def _bound(value: NDArray[Any], magnitude: NDArray[Any], n: int, real: np.dtype[Any]) -> NDArray[Any]:
    accumulated = np.dtype(np.float32) if real == np.float16 else real
    bound = gamma(n, accumulated) * magnitude + n * _fraction(np.finfo(accumulated).smallest_subnormal)
    if real != accumulated:
        rounding = _unit_roundoff(real) * (abs(value) + bound)
        bound = bound + rounding + _fraction(np.finfo(real).smallest_subnormal) / 2
    return np.asarray(bound, dtype=object)


def _dot(A: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """``A @ x`` of object arrays; of ints and not Fractions, because those are reduced after each addition."""
    products = A * x[..., np.newaxis, :]
    return np.asarray(np.add.reduce(products, axis=-1, initial=0, dtype=object), dtype=object)


def _scaled(ints: NDArray[Any], unit: Fraction) -> NDArray[Any]:
    return _mapped(lambda one: int(one) * unit, ints)


def _wrapped(ints: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Each integer modulo 2**bits, in the range of `dtype`; of bool, whether it is not zero."""
    if dtype.kind == "b":
        return _mapped(bool, ints)
    lowest, bits = int(np.iinfo(dtype).min), np.iinfo(dtype).bits
    return _mapped(lambda one: (int(one) - lowest) % 2**bits + lowest, ints)


def _mapped(function: Callable[[Any], Any], a: NDArray[Any]) -> NDArray[Any]:
    result = np.empty(a.shape, object)
    for index in np.ndindex(a.shape):
        result[index] = function(a[index])
    return result


def _as_real(A: Array, x: Array) -> tuple[Array, Array]:
    """A complex product as a real one, whose result has real and imaginary parts in turn."""
    rows = np.empty((*A.shape[:-1], 2, 2 * A.shape[-1]), A.real.dtype)
    rows[..., 0, 0::2], rows[..., 0, 1::2] = A.real, -A.imag
    rows[..., 1, 0::2], rows[..., 1, 1::2] = A.imag, A.real
    vector = np.stack([x.real, x.imag], axis=-1).reshape(*x.shape[:-1], 2 * x.shape[-1])
    return rows.reshape(*A.shape[:-2], 2 * A.shape[-2], 2 * A.shape[-1]), vector


@dataclass(frozen=True)
class ExactSum:
    """The sum that ``psum`` must return, bit for bit, and the conditions that it must report."""

    value: Array
    overflow: bool
    invalid: bool


def exact_sum(
    a: Array,
    axis: int | tuple[int, ...] | None = None,
    dtype: np.dtype[Any] | None = None,
    keepdims: bool = False,
    initial: Any = 0,
    where: ArrayLike = True,
    rounded_to: np.dtype[Any] | None = None,
) -> ExactSum:
    """The sum of the real numbers in `a`, rounded once; the arguments are those of ``numpy.sum``.

    Parameters
    ----------
    dtype : each element is cast to it first; None: the one in which ``numpy.sum`` adds
    rounded_to : the dtype of the result; None: that of the addends
    """
    added = np.sum(a[(slice(0, 1),) * a.ndim]).dtype if dtype is None else dtype  # numpy.sum's own choice
    result = added if rounded_to is None else rounded_to
    with np.errstate(all="ignore"):
        addends = a.astype(added)
        extra = np.asarray(initial).astype(added)
    mask = np.broadcast_to(np.asarray(where, dtype=bool), a.shape)
    summed = _summed_axes(axis, a.ndim)
    kept = [i for i in range(a.ndim) if i not in summed]
    order = [*kept, *summed]
    rows, masks = addends.transpose(order), mask.transpose(order)
    sums = [
        _one_sum(np.append(rows[i].ravel()[masks[i].ravel()], extra), result)
        for i in np.ndindex(tuple(a.shape[j] for j in kept))
    ]
    shape = tuple(1 if i in summed else a.shape[i] for i in range(a.ndim) if keepdims or i not in summed)
    value = np.array([one.value for one in sums], result).reshape(shape)
    return ExactSum(value, any(one.overflow for one in sums), any(one.invalid for one in sums))


def _summed_axes(axis: int | tuple[int, ...] | None, ndim: int) -> list[int]:
    if axis is None:
        return list(range(ndim))
    return sorted(one % ndim for one in (axis if isinstance(axis, tuple) else (axis,)))


def _one_sum(a: Array, result: np.dtype[Any]) -> ExactSum:
    if a.dtype.kind in "biu":
        total = sum(int(one) for one in a)
        return ExactSum(_wrapped(np.array(total, object), result)[()], False, False)
    if a.dtype.kind == "c":
        part = np.zeros((), result).real.dtype
        re, im = _one_sum(a.real, part), _one_sum(a.imag, part)
        value = np.array([re.value, im.value]).view(result)[0]  # re + 1j*im would make 1j*inf a NaN
        return ExactSum(value, re.overflow or im.overflow, re.invalid or im.invalid)
    finite = np.isfinite(a)
    if not finite.all():
        return _one_special(a, result)
    total, exponent = _total(a)
    value, overflow = round_to(total, exponent, result)
    return ExactSum(value, overflow, False)


def _one_special(a: Array, result: np.dtype[Any]) -> ExactSum:
    nan, up, down = bool(np.isnan(a).any()), bool((a == np.inf).any()), bool((a == -np.inf).any())
    if nan or (up and down):
        quiet = np.array(NAN_BITS[result.itemsize], f"u{result.itemsize}").view(result)
        return ExactSum(quiet[()], False, not nan)
    return ExactSum(result.type(math.inf if up else -math.inf), False, False)


def _total(a: Array) -> tuple[int, int]:
    """The sum as an integer times a power of two; vectorised over elements of the same exponent."""
    fraction, exponents = np.frexp(a.astype(np.float64))
    mantissas = np.ldexp(fraction, 53).astype(np.int64)
    different, where = np.unique(exponents, return_inverse=True)
    halves = np.zeros((2, different.size), np.int64)  # of 32 bits, so that 2**31 of them cannot overflow
    np.add.at(halves[0], where, mantissas >> 32)
    np.add.at(halves[1], where, mantissas & 0xFFFFFFFF)
    lowest = int(different[0])
    terms = zip(different.tolist(), halves[0].tolist(), halves[1].tolist(), strict=True)
    return sum(((high << 32) + low) << (exponent - lowest) for exponent, high, low in terms), lowest - 53


def round_to(total: int, exponent: int, dtype: np.dtype[Any]) -> tuple[Any, bool]:
    """``total * 2**exponent`` to nearest, ties to even, in a float of at most 64 bits; and whether it overflows.

    Examples
    --------
    >>> value, overflows = round_to(2**24 + 1, 0, np.dtype(np.float32))
    >>> int(value), overflows
    (16777216, False)
    """
    if total == 0:
        return dtype.type(0.0), False
    info = np.finfo(dtype)
    leading = exponent + abs(total).bit_length() - 1
    quantum = max(leading, int(info.minexp)) - int(info.nmant)
    mantissa = _to_nearest_even(abs(total), exponent - quantum)
    sign = 1.0 if total > 0 else -1.0
    if mantissa.bit_length() + quantum > int(info.maxexp):
        return dtype.type(sign * math.inf), True
    return dtype.type(math.ldexp(sign * mantissa, quantum)), False


def _to_nearest_even(magnitude: int, shift: int) -> int:
    if shift >= 0:
        return magnitude << shift
    floor, rest = magnitude >> -shift, magnitude & ((1 << -shift) - 1)
    half = 1 << (-shift - 1)
    return floor + (rest > half or (rest == half and floor & 1 == 1))
