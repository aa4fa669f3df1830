"""Who owns which rows: pure integers, no arrays and no workers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["blocks", "ends", "pieces", "split_axis"]


def blocks(n: int, parts: int) -> list[range]:
    """Contiguous blocks of ``range(n)`` whose lengths differ by at most one, longer ones first.

    n = 7:  parts = 2 -> 4 3      3 -> 3 2 2      5 -> 2 2 1 1 1      9 -> 1 1 1 1 1 1 1 0 0
    """
    edges = ends(n, parts).tolist()
    return [range(lo, hi) for lo, hi in zip(edges, edges[1:], strict=False)]


@lru_cache(maxsize=1024)
def ends(n: int, parts: int) -> NDArray[np.int64]:
    """Where the blocks of ``blocks(n, parts)`` begin, and last where they end: ``parts + 1`` integers."""
    short, longer = divmod(n, parts)
    edges = np.array([i * short + min(i, longer) for i in range(parts + 1)], dtype=np.int64)
    edges.flags.writeable = False
    return edges


@lru_cache(maxsize=1024)
def split_axis(lengths: tuple[int, ...], workers: int, strides: tuple[int, ...] = (), kept: int = 0) -> int:
    """The axis to split over `workers`: the first that gives each 8 elements or more, otherwise the longest.

    With fewer than 8 for each, a block that is one element longer costs more than an eighth of the time. If there are
    `strides`, the axes after the first `kept` ones come in their order, so that a block is in one place of memory.

    lengths = (1, 1000, 4), workers = 2 -> 1      (1, 4, 1000000) -> 2      (1, 3, 2) -> 1
    """
    order = [*range(kept), *sorted(range(kept, len(strides)), key=lambda axis: -abs(strides[axis]))]
    for axis in order if strides else range(len(lengths)):
        if lengths[axis] >= 8 * workers:
            return axis
    return max(range(len(lengths)), key=lambda axis: lengths[axis])


def pieces(shape: tuple[int, ...], most: int) -> Iterator[tuple[Any, ...]]:
    """Indices of contiguous pieces of an array of `shape`, each of at most `most` elements (one row at least)."""
    axis = len(shape)
    while axis > 0 and math.prod(shape[axis - 1 :]) <= most:
        axis -= 1
    if axis == 0:
        yield (...,)
        return
    step = max(1, most // max(1, math.prod(shape[axis:])))
    for lead in np.ndindex(*shape[: axis - 1]):
        for first in range(0, shape[axis - 1], step):
            yield (*(slice(i, i + 1) for i in lead), slice(first, first + step), *(slice(None),) * (len(shape) - axis))
