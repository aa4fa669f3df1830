"""float64 as pairs of float32, for devices that have no float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._base import Array

__all__ = ["exponent_of", "join", "split"]


def exponent_of(a: Array, axes: int | tuple[int, ...]) -> Array:
    """Of the powers of two that the largest finite elements along `axes`, which stay, are below."""
    largest = np.max(np.abs(a), axis=axes, where=np.isfinite(a), initial=0.0, keepdims=True)
    return np.asarray(np.frexp(largest)[1])


def split(a: Array, exponent: Array) -> Array:
    """A float64 array, divided by powers of two, as an array of complex64, whose parts are to be added up.

    They have 48 bits of each element, but none below 2**-149 of the largest, whose `exponent_of` is given.
    """
    pairs = np.empty_like(a, np.complex64)
    with np.errstate(all="ignore"):  # what is too small for float32 is not there
        scaled = np.ldexp(a, -exponent)
        pairs.real = scaled
        pairs.imag = np.where(np.isfinite(a), scaled - pairs.real, 0.0)
    return pairs


def join(pairs: Array, exponent: Array) -> Any:
    """The inverse."""
    with np.errstate(all="ignore"):  # overflow of a product is an infinity, as on every backend
        return np.ldexp(pairs.real.astype(np.float64) + pairs.imag, exponent)
