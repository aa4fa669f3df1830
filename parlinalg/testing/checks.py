"""Assertions that hold without pytest and under ``python -O``, and that cannot be passed by forgetting a result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .oracle import ExactProduct, same_bits

__all__ = ["must_raise", "require", "require_close", "require_same_bits", "unchanged"]

Array = NDArray[Any]


def require(condition: bool, message: str) -> None:
    """Raise AssertionError with `message` unless `condition` is True, and nothing that only counts as true."""
    if condition is not True and not (isinstance(condition, np.bool_) and condition):
        raise AssertionError(message)


def require_same_bits(actual: Any, expected: Any, context: object = "") -> None:
    """Both have the same shape, dtype and bits."""
    if not same_bits(actual, expected):
        raise AssertionError(f"{context}: got {_shown(actual)}, expected {_shown(expected)}")


def require_close(actual: Array, exact: ExactProduct, context: object = "") -> None:
    """`actual` has the dtype and shape of the exact product and is within its bound."""
    deviation = exact.deviation(actual)
    if not deviation <= 1.0:
        raise AssertionError(f"{context}: an error of {deviation:.3g} times the bound in {_shown(actual)}")


def _shown(a: Any) -> str:
    a = np.asarray(a)
    return f"{a.dtype} {a.shape} {a.tolist() if a.size <= 50 else '...'}"


@contextmanager
def must_raise(kind: type[BaseException], *words: str) -> Iterator[None]:
    """The block raises `kind`, with a message that contains each of `words`."""
    try:
        yield
    except kind as error:
        missing = [word for word in words if word not in str(error)]
        if missing:
            raise AssertionError(f"{type(error).__name__}({error}) does not say {missing}") from error
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


@contextmanager
def unchanged(*arrays: Array) -> Iterator[None]:
    """The block leaves the elements of `arrays` as they are."""
    before = [a.copy() for a in arrays]
    yield
    for number, (a, copy) in enumerate(zip(arrays, before, strict=True)):
        require(same_bits(a, copy), f"operand {number} was modified: {_shown(copy)} became {_shown(a)}")
