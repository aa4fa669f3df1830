"""float64 as pairs of float32, for devices that have no float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._base import Array

__all__ = ["exponent_of", "join", "split"]


def exponent_of(a: Array) -> int:
    """Of the power of two that the largest finite element is below."""
    largest = np.max(np.abs(a), where=np.isfinite(a), initial=0.0)
    return int(np.frexp(largest)[1])


def split(a: Array, exponent: int) -> Array:
    """A float64 array, divided by ``2**exponent``, as an array of complex64, whose parts are to be added up.

    They have 48 bits of each element, but none below 2**-149 of the largest, whose `exponent_of` is given.
    """
    pairs = np.empty_like(a, np.complex64)
    with np.errstate(all="ignore"):  # what is too small for float32 is not there
        scaled = np.ldexp(a, -exponent)
        pairs.real = scaled
        pairs.imag = np.where(np.isfinite(a), scaled - pairs.real, 0.0)
    return pairs


def join(pairs: Array, exponent: int) -> Any:
    """The inverse."""
    with np.errstate(all="ignore"):  # overflow of a product is an infinity, as on every backend
        return np.ldexp(pairs.real.astype(np.float64) + pairs.imag, exponent)
