"""``PartialSum``: an exact sum that is not rounded yet, for those who add up pieces of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _kernels
from .backends._base import Backend
from .dispatch import collective, engage
from .exact import FLOAT_DIGITS, digits
from .operands import as_dtype, as_operand
from .plan import dtype_of_sum, plan_sum
from .states import round_sums, states_of, states_of_pieces

__all__ = ["PartialSum"]

State = NDArray[np.int64]

MOST = 2**62  # of a digit: what 2**31 normalised states can add up to
RESULTS = {
    "f": "float16, float32 and float64",
    "c": "complex64 and complex128",
    "i": "integers and bool",
}


class PartialSum:
    """The exact state of a sum: a value of fixed size that can be merged, sent, stored and, last, rounded.

    Make one of an array by `PartialSum.of`, or of a state that was merged elsewhere by the constructor. ``+`` merges
    two and rounds nothing, so the bits of the result depend neither on how data are split nor on the order of
    additions. `sum` works on them. Two are equal if their dtype and the exact sums are. They are immutable, hashable
    and can be pickled.

    Parameters
    ----------
    state : array_like of int64, shape (73,), (146,) or (1,)
        As `state` of others, or the elementwise sum of those of at most 2**31 others. Copied and normalised.
    dtype : dtype
        What the sum is rounded to by default, which also says what kind of elements were added.

    Raises
    ------
    TypeError
        If `state` is not of int64, or for a `dtype` that `psum` does not take.
    ValueError
        If `state` has another shape, or cannot be a sum of so many states.

    See Also
    --------
    psum : for an array that is in one place.

    Notes
    -----
    Layout version 1, which the attribute `version` names. For float16, float32 and float64: 70 digits, of which digit
    j weighs ``2**(32*j - 1088)``, then how many NaN, +inf and -inf were added. For complex numbers: that of the real
    parts, then that of the imaginary parts. For integers and bool: the sum modulo 2**64.

    Examples
    --------
    >>> import numpy as np
    >>> from parlinalg import PartialSum
    >>> total = sum(PartialSum.of(piece) for piece in ([1e308, 1.0], [1e308], [-1e308], [-1e308]))
    >>> total.round()
    np.float64(1.0)
    >>> states = [PartialSum.of(np.full(5, 0.1)).state for _ in range(2)]  # on different computers, say
    >>> PartialSum(np.add.reduce(states), np.float64)
    <PartialSum 1.0, float64>
    """

    version: ClassVar[int] = 1  # of the layout of `state`
    __slots__ = ("_dtype", "_state")
    __array_ufunc__ = None  # so that NumPy does not take one for an element of an object array

    def __init__(self, state: ArrayLike, dtype: DTypeLike) -> None:
        self._dtype = _named("PartialSum", dtype)
        self._state = _normalised(_checked(state, self._dtype), self._dtype).tobytes()

    @classmethod
    @collective
    def of(
        cls,
        a: ArrayLike,
        dtype: DTypeLike | None = None,
        *,
        backend: str | Backend | None = None,
        workers: int | None = None,
    ) -> PartialSum:
        """The sum of all elements of `a`.

        Parameters
        ----------
        a : array_like, any shape, byte order and strides
            Not copied.
        dtype : dtype, optional
            Each element is cast to it first. None: that of ``numpy.sum``.
        backend, workers
            As in `matvec`, and so is what is raised.

        Returns
        -------
        PartialSum
            Whose ``round()`` is ``psum(a, dtype=dtype)``.

        Examples
        --------
        >>> import parlinalg
        >>> parlinalg.PartialSum.of([[1, 2], [3, 4]])
        <PartialSum 10, int64>
        """
        function = "PartialSum.of"
        array = as_operand(function, "a", a)
        plan = plan_sum(array.shape, array.dtype, dtype=as_dtype(function, dtype), function=function)
        choice = engage(function, plan, backend, workers, (array.dtype,))
        if plan.cast is None:
            states = states_of(choice, array, 0)
        else:
            states = states_of_pieces(choice, array, 0, plan.cast, None)
        return cls(states.reshape(-1), plan.dtype)

    @property
    def dtype(self) -> np.dtype:
        """The dtype that `round` rounds to by default: that of ``numpy.sum`` of the same elements."""
        return self._dtype

    @property
    def state(self) -> State:
        """The state, int64, one-dimensional and read-only: see Notes. At most 2**31 may be added up."""
        return np.frombuffer(self._state, np.int64)

    def round(self, dtype: DTypeLike | None = None) -> Any:
        """The sum, rounded once, to nearest, ties to even.

        Parameters
        ----------
        dtype : dtype, optional
            To which the exact sum is rounded directly: a float for floats, a complex one for complex numbers. Integers
            wrap around. None: `PartialSum.dtype`.

        Returns
        -------
        scalar
            Of NumPy. Overflow, and infinities of both signs, are reported as ``numpy.errstate`` says.

        Raises
        ------
        TypeError
            For a `dtype` of another kind.
        """
        function = "PartialSum.round"
        target = self._dtype if dtype is None else _named(function, dtype)
        kind = _kind(self._dtype)
        if _kind(target) != kind:
            raise TypeError(f"{function}: dtype is {target}; a sum of {self._dtype} is rounded to {RESULTS[kind]}")
        return round_sums(_sums(self.state, target), target)[()]

    def __add__(self, other: object) -> PartialSum:
        if not isinstance(other, PartialSum):
            return NotImplemented
        dtype = _common(self._dtype, other._dtype)
        return PartialSum(self.state + other.state, dtype)

    def __radd__(self, other: object) -> PartialSum:
        """``0 + partial``, with which `sum` begins."""
        return self if type(other) is int and other == 0 else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartialSum):
            return NotImplemented
        return self._dtype == other._dtype and self._state == other._state

    def __hash__(self) -> int:
        return hash((self._dtype, self._state))

    def __repr__(self) -> str:
        with np.errstate(all="ignore"):
            return f"<PartialSum {self.round()}, {self._dtype}>"

    def __reduce__(self) -> tuple[Callable[[int, bytes, str], PartialSum], tuple[int, bytes, str]]:
        return _unpickled, (self.version, self.state.astype("<i8").tobytes(), self._dtype.name)


def _unpickled(version: int, state: bytes, dtype: str) -> PartialSum:
    if version != PartialSum.version:
        raise ValueError(
            f"PartialSum: the pickle has layout version {version}; this parlinalg reads version {PartialSum.version}"
        )
    return PartialSum(np.frombuffer(state, "<i8"), dtype)


def _kind(dtype: np.dtype) -> str:
    """Of sums that share a kind of state."""
    return dtype.kind if dtype.kind in "fc" else "i"


def _named(function: str, dtype: DTypeLike) -> np.dtype:
    """The dtype that a caller named, if sums can have it."""
    named = as_dtype(function, dtype)
    if named is None:
        raise TypeError(f"{function}: dtype is None; pass that of the sum, for example 'float64'")
    return dtype_of_sum(function, "dtype", named)


def _common(one: np.dtype, other: np.dtype) -> np.dtype:
    common = np.promote_types(one, other)
    if _kind(one) == _kind(other) == _kind(common):
        return common
    raise TypeError(
        f"PartialSum: a sum of {one} and a sum of {other} cannot be added, as no dtype fits the states of both; make "
        f"both with the same dtype, for example PartialSum.of(a, dtype={common.name!r})"
    )


def _sums(state: State, dtype: np.dtype) -> State:
    """The state, or those of real and imaginary parts along a first axis."""
    return state.reshape(2, -1) if dtype.kind == "c" else state


def _checked(state: ArrayLike, dtype: np.dtype) -> State:
    array = as_operand("PartialSum", "state", state)
    if array.dtype.newbyteorder("=") != np.int64:
        raise TypeError(f"PartialSum: state has dtype {array.dtype}; it must be int64")
    length = digits(dtype) * (2 if dtype.kind == "c" else 1)
    if array.shape != (length,):
        raise ValueError(f"PartialSum: state has shape {array.shape}; that of a sum of {dtype} has shape ({length},)")
    return array


def _normalised(state: State, dtype: np.dtype) -> State:
    """A copy, whose digits are those that no other state of the same sum has."""
    copy = state.astype(np.int64)  # native, and contiguous
    if len(copy) == 1:
        return copy
    parts = copy.reshape(-1, FLOAT_DIGITS)
    _check_digits(parts)
    for one in parts:
        if one[-3:].min() < 0:
            raise ValueError(f"PartialSum: state counts {one[-3:].tolist()} NaN, +inf and -inf; no count is negative")
    _kernels.normalise(parts)
    _check_digits(parts)  # the last digit has what the others carry
    return copy


def _check_digits(states: State) -> None:
    if not -MOST <= states.min() <= states.max() <= MOST:
        raise ValueError(
            "PartialSum: state has integers beyond 2**62, as only a sum of more than 2**31 states has; merge fewer "
            "at a time"
        )
