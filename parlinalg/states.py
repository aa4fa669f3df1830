"""The states of arrays, by the backend that was chosen: what every exact sum is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._kernels import ieee754
from .dispatch import Choice
from .exact import digits, round_states
from .operands import masked, real_view
from .split import pieces

__all__ = ["CAST_AT_A_TIME", "addends_of", "round_sums", "states_of", "states_of_pieces"]

Array = NDArray[Any]

TWO_TO_63 = 2.0**63
CAST_AT_A_TIME = 1 << 16  # elements that are cast or masked at a time: half a megabyte of float64


def states_of(choice: Choice, a: Array, kept: int) -> NDArray[np.int64]:
    """The states of the sums over all but the first `kept` axes; of complex numbers, two each."""
    if a.dtype.kind == "c":
        return choice.backend.sum_states(real_view(a, kept), kept + 1, choice.workers)
    return choice.backend.sum_states(a, kept, choice.workers)


def states_of_pieces(choice: Choice, a: Array, kept: int, cast: np.dtype, mask: Array | None) -> NDArray[np.int64]:
    """The states of elements that are cast, or masked by zeros, a bounded piece at a time."""
    parts = (2,) if cast.kind == "c" else ()
    states = np.zeros((*a.shape[:kept], *parts, digits(cast)), np.int64)
    for index in _pieces_as_they_lie(a):
        piece = addends_of(a[index], cast, None if mask is None else mask[index])
        states[index[:kept]] += states_of(choice, piece, kept)
    return states


def _pieces_as_they_lie(a: Array) -> Iterator[tuple[Any, ...]]:
    order = sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))
    place = sorted(range(a.ndim), key=order.__getitem__)
    for index in pieces(tuple(a.shape[axis] for axis in order), CAST_AT_A_TIME):
        yield index if index == (...,) else tuple(index[at] for at in place)


def addends_of(a: Array, cast: np.dtype, mask: Array | None) -> Array:
    """What is added: elements that are cast, or masked by zeros."""
    with ieee754():
        a = _cast(a, cast)
    return a if mask is None else masked(a, mask)


def _cast(a: Array, dtype: np.dtype) -> Array:
    """As ``a.astype(dtype)``.

    What no integer can hold, NaN and infinities become in NumPy what its loops happen to do, which differ between
    layouts. So casts of floats go by way of int64, which all of them do alike.
    """
    if dtype.kind not in "iu" or a.dtype.kind not in "fc":
        return a.astype(dtype, copy=False)
    reals = a.astype(np.float64)  # with NumPy's warning where imaginary parts are lost
    if dtype.itemsize < 8 or dtype.kind == "i":
        return reals.astype(np.int64).astype(dtype)
    large = reals >= TWO_TO_63
    reals[large] -= TWO_TO_63
    return reals.astype(np.int64).view(np.uint64) + (large.astype(np.uint64) << np.uint64(63))


def round_sums(states: NDArray[np.int64], dtype: np.dtype) -> Array:
    """The sums that states stand for, rounded once; of complex numbers from two each."""
    if dtype.kind == "c":
        return round_states(states, dtype.type(0).real.dtype).view(dtype)[..., 0]
    return round_states(states, dtype)
