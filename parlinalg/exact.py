"""States: exact partial sums of fixed size, that merge by addition and are rounded once.

The state of a sum of floats is ``int64[73]``: digit j of 70 weighs ``2**(32*j - 1088)``; then come the counts of
NaN, +inf and -inf. That of a sum of products of two floats is ``int64[139]``: digit j of 136 weighs
``2**(32*j - 2176)``. The state of a sum of integers is ``int64[1]``, the sum modulo 2**64. Normalised states can be
added up elementwise, up to 2**31 of them, in any order: the sum stays exact (docs: exact sums).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels

__all__ = ["FLOAT_DIGITS", "PRODUCT_DIGITS", "digits", "report", "round_states"]

FLOAT_DIGITS: int = _kernels.FLOAT_DIGITS
PRODUCT_DIGITS: int = _kernels.PRODUCT_DIGITS


def digits(dtype: np.dtype) -> int:
    """Length of the state that carries a sum of elements of `dtype`."""
    return FLOAT_DIGITS if dtype.kind in "fc" else 1


def round_states(states: NDArray[np.int64], dtype: np.dtype) -> NDArray[Any]:
    """The sums that `states` stand for, rounded to nearest, ties to even, in `dtype`.

    Parameters
    ----------
    states : int64 array, shape (..., 73), (..., 139) or (..., 1)
        Of float elements, of products of them, or of integer elements.
    dtype : float16, float32 or float64, or any integer type or bool
        Sums of integers wrap around.

    Notes
    -----
    Overflow, and infinities of both signs, are reported as ``numpy.errstate`` says, like those of ``numpy.sum``.
    """
    if states.shape[-1] == 1:
        return states[..., 0].astype(dtype)
    rounded = np.empty(states.shape[:-1], dtype)
    report(_kernels.round_states(states, rounded))
    return rounded


def report(conditions: int) -> None:
    """Report the conditions that rounding met, which are flags, as ``numpy.errstate`` says."""
    if conditions & _kernels.OVERFLOW:
        _report_like_numpy(np.finfo(np.float64).max, np.finfo(np.float64).max)
    if conditions & _kernels.INVALID:
        _report_like_numpy(np.inf, -np.inf)


def _report_like_numpy(*addends: float) -> None:
    """Let NumPy add numbers that make it report the same condition, by the rules that the caller set."""
    np.add.reduce(np.array(addends))
