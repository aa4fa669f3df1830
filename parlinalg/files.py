"""Arrays in files of NumPy's."""

from __future__ import annotations

import os
import tokenize
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mapped"]

MAGIC = b"\x93NUMPY"
# What np.load raises for files that are no arrays, or parts of one.
DAMAGED = (EOFError, OverflowError, SyntaxError, ValueError, tokenize.TokenError)


def mapped(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in a .npy file, mapped, so that only what is needed is read; pickles are never loaded.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no .npy file, or holds no plain numbers.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        start = file.read(len(MAGIC))
    if start.startswith(b"PK"):
        raise ValueError(f"{name} holds several arrays; pass a .npy file, which holds one")
    if start != MAGIC:
        raise ValueError(f"{name} is not a .npy file of numbers: it does not begin as one")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGED as error:
        raise ValueError(f"{name} is not a .npy file of numbers: {error}") from error
    return array
