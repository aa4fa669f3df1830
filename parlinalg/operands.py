"""What a caller passed in, as arrays that a backend can take, or an error that names the argument."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MOST_AXES",
    "DeviceArray",
    "Operand",
    "as_dtype",
    "as_operand",
    "as_where",
    "check_out",
    "is_there",
    "masked",
    "may_overlap",
    "real_view",
]


class DeviceArray(Protocol):
    """An array in the memory of a device, such as ``pyopencl.array.Array``."""

    shape: tuple[int, ...]
    dtype: Any

    def get(self) -> Any:
        """A copy as an array of NumPy."""


Operand: TypeAlias = ArrayLike | DeviceArray

NUMERIC_KINDS = "biufc"
MOST_AXES = 64
SMALL = 1 << 16  # elements
FEW = 1000  # elements, below which masks by bits take longer
PLAIN = frozenset((bool, int, float, complex, np.ndarray, *np.sctypeDict.values()))  # which mask nothing
ACCEPTED = "accepted are arrays, and sequences, of bool, integers, floats or complex numbers"


def as_operand(function: str, name: str, value: Any, *, there: bool = False) -> NDArray[Any]:
    """`value` as a plain ndarray, without a copy where it is one already.

    ``numpy.matrix`` and other subclasses are taken as the array that they hold, so the result is an ndarray; but what
    is in the memory of a device stays as it is, if that may be `there`.

    Raises
    ------
    TypeError
        For what is not numeric, for object arrays, sparse matrices, and masked arrays that mask anything.
    ValueError
        For nested sequences of unequal lengths.
    """
    array: NDArray[Any] = value
    if type(value) is not np.ndarray and not (there and is_there(value)):
        array = _to_array(function, name, value)
    if array.dtype.kind not in NUMERIC_KINDS:
        raise TypeError(f"{function}: {name} has dtype {array.dtype}; {ACCEPTED}")
    return array


def _to_array(function: str, name: str, value: Any) -> NDArray[Any]:
    if _masks(value):
        what = f"{name} holds" if isinstance(value, (list, tuple)) else f"{name} is"
        raise TypeError(
            f"{function}: {what} a masked array with masked elements, which would be used as if they were not; "
            f"pass {name}.filled(0), or use where= of psum"
        )
    if value is None or isinstance(value, (str, bytes, dict, set, frozenset)):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}; {ACCEPTED}")
    if is_there(value):
        raise TypeError(f"{function}: {name} is an array of pyopencl, which is not taken here; pass {name}.get()")
    if hasattr(value, "tocsr"):
        raise TypeError(f"{function}: {name} is a sparse {type(value).__name__}; pass {name}.toarray()")
    try:
        array = np.asanyarray(value)
    except ValueError as error:
        raise ValueError(f"{function}: {name} cannot be made an array: {error}") from error
    if array.dtype.kind == "O":
        raise TypeError(f"{function}: {name} is a {type(value).__name__} that becomes an object array; {ACCEPTED}")
    if type(array) is np.ndarray:
        return array
    return _to_array(function, name, array) if array is not value else array.view(np.ndarray)


def _masks(value: Any) -> bool:
    """Whether it masks anything, or something in it does: NumPy would look at the data only."""
    if isinstance(value, (list, tuple)):
        return not PLAIN.issuperset(map(type, value)) and any(map(_masks, value))
    return isinstance(value, np.ma.MaskedArray) and bool(np.ma.is_masked(value))


def is_there(value: object) -> bool:
    """Whether it is an array in the memory of a device: one of pyopencl."""
    return type(value).__module__ == "pyopencl.array"


def check_out(function: str, out: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise unless a result of `shape` and `dtype` can be written into `out`."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{function}: out is a {type(out).__name__}; it must be a numpy.ndarray")
    if isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{function}: out is a masked array; pass out.data")
    if out.shape != shape:
        raise ValueError(f"{function}: out has shape {out.shape}; the result has shape {shape}")
    if out.dtype != dtype:
        _check_cast(function, out, dtype)
    if not out.flags.writeable:
        raise ValueError(f"{function}: out is read-only")
    if not out.flags.c_contiguous and _overlaps_itself(out):
        raise ValueError(f"{function}: out has strides {out.strides}, with which some of its elements share memory")


def _check_cast(function: str, out: NDArray[Any], dtype: np.dtype) -> None:
    if out.dtype.kind not in NUMERIC_KINDS:
        raise TypeError(f"{function}: out has dtype {out.dtype}; accepted are bool, integers, floats and complex")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(
            f"{function}: out has dtype {out.dtype}; the result has dtype {dtype}, "
            f"which cannot be cast to it by the rule 'same_kind'"
        )


def _overlaps_itself(a: NDArray[Any]) -> bool:
    """Whether two elements may share memory; small arrays are looked at element by element."""
    if a.size == 0 or not _strides_interleave(a):
        return False
    if a.size > SMALL:
        return True
    offsets = np.zeros((), np.intp)
    for stride, length in zip(a.strides, a.shape, strict=True):
        offsets = np.add.outer(offsets, stride * np.arange(length))
    return bool((np.diff(np.sort(offsets, axis=None)) < a.itemsize).any())


def _strides_interleave(a: NDArray[Any]) -> bool:
    """Whether some stride does not step over all that the smaller ones reach."""
    reach = a.itemsize
    for stride, length in sorted(zip(map(abs, a.strides), a.shape, strict=True)):
        if length > 1:
            if stride < reach:
                return True
            reach += stride * (length - 1)
    return False


def may_overlap(out: NDArray[Any], *operands: NDArray[Any]) -> bool:
    """Whether writing `out` might change an operand that is still to be read."""
    return any(np.may_share_memory(out, operand) for operand in operands)


def as_dtype(function: str, dtype: Any) -> np.dtype | None:
    """The dtype that a caller named, or None.

    Raises
    ------
    TypeError
        For what NumPy does not take as a dtype.
    """
    if dtype is None:
        return None
    try:
        named: np.dtype = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise TypeError(f"{function}: dtype is {dtype!r}, which is no dtype of NumPy: {error}") from error
    return named


def as_where(function: str, where: Any, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """The mask broadcast to `shape`, or None where it is simply True."""
    if where is True:
        return None
    mask = as_operand(function, "where", where)
    if mask.dtype != np.bool_:
        raise TypeError(f"{function}: where has dtype {mask.dtype}; it must be bool")
    if mask.shape == shape:
        return mask
    try:
        return np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(f"{function}: where has shape {mask.shape}, which does not broadcast to {shape}") from None


def masked(a: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """A copy with zeros where the mask, of the same shape, is False.

    By bits: where a mask is random, no processor foresees the branches that ``numpy.where`` takes.
    """
    if a.size < FEW:
        kept = np.zeros(a.shape, a.dtype)
        np.copyto(kept, a, where=mask)
        return kept
    bits = np.negative(mask.astype(f"u{min(a.itemsize, 8)}"))
    if a.itemsize <= 8:
        bits &= a.view(bits.dtype)
        return np.asarray(bits.view(a.dtype))
    kept = np.empty_like(a)
    for into, part in ((kept.real, a.real), (kept.imag, a.imag)):
        np.bitwise_and(part.view(bits.dtype), bits, out=into.view(bits.dtype))
    return kept


def real_view(a: NDArray[Any], axis: int) -> NDArray[Any]:
    """A complex array as its real and imaginary parts, along a new axis at position `axis`; no copy.

    Raises
    ------
    ValueError
        If NumPy has no room for one more axis.
    """
    if a.ndim == MOST_AXES:
        raise ValueError(f"complex arrays may have {MOST_AXES - 1} dimensions at most; this one has {a.ndim}")
    shape = (*a.shape[:axis], 2, *a.shape[axis:])
    strides = (*a.strides[:axis], a.itemsize // 2, *a.strides[axis:])
    return np.lib.stride_tricks.as_strided(a.real, shape, strides)
