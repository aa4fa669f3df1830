"""Who owns which rows: pure integers, no arrays and no workers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["blocks", "ends", "split_axis"]


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


def split_axis(lengths: Sequence[int], workers: int) -> int:
    """The axis to split over `workers`: the first that gives each 8 elements or more, otherwise the longest.

    With fewer than 8 for each, a block that is one element longer costs more than an eighth of the time.

    lengths = (1, 1000, 4), workers = 2 -> 1      (1, 4, 1000000) -> 2      (1, 3, 2) -> 1
    """
    for axis, length in enumerate(lengths):
        if length >= 8 * workers:
            return axis
    return max(range(len(lengths)), key=lambda axis: lengths[axis])
