"""What several commands share: options of a call, and files of arrays."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["add_call_options", "load", "write"]


def add_call_options(parser: argparse.ArgumentParser) -> None:
    """Add --backend, --workers, --dtype and -o."""
    parser.add_argument("--backend", metavar="NAME", help="default: chosen by size; `parlinalg info` lists them")
    parser.add_argument("--workers", type=int, metavar="N", help="default: that of this host; -1: all CPUs")
    parser.add_argument("--dtype", metavar="DTYPE", help="to compute in, for example float32; default: as NumPy")
    parser.add_argument("-o", "--output", metavar="FILE", help=".npy file to write; default: print the result")


def load(path: str) -> NDArray[Any]:
    """The array in a .npy file, mapped, so that only what is needed is read."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path} is not a .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} holds several arrays; pass a .npy file, which holds one")  # noqa: TRY004
    return array


def write(path: str | None, result: Any) -> int:
    """Write a result whole or not at all, or print it; return the exit status."""
    if path is None:
        print(result)
        return 0
    target = Path(path)
    file, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(file, "wb") as stream:
            np.save(stream, result)
        os.chmod(name, 0o666 & ~_umask())  # as if it had been opened under its own name
        os.replace(name, target)
    except BaseException:  # also Ctrl-C: nothing half-written stays
        os.unlink(name)
        raise
    return 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
