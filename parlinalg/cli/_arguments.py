"""What several commands share: options of a call, and files of arrays."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..registry import default_instance

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["add_call_options", "dtype", "picture", "speaks", "whole_file", "write"]


def add_call_options(parser: argparse.ArgumentParser) -> None:
    """Add --backend, --workers, --dtype and -o."""
    parser.add_argument("--backend", metavar="NAME", help="default: chosen by size; `parlinalg info` lists them")
    parser.add_argument("--workers", type=int, metavar="N", help="default: that of this host; -1: all CPUs")
    parser.add_argument(
        "--dtype", type=dtype, metavar="DTYPE", help="to compute in, for example float32; default: as NumPy"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help=".npy file to write; default: print the result")


def dtype(text: str) -> np.dtype:
    """The dtype that an option names."""
    try:
        return np.dtype(text)
    except (SyntaxError, TypeError, ValueError) as error:  # NumPy takes some texts for Python
        raise argparse.ArgumentTypeError(f"{text!r} is no dtype; pass a name that NumPy knows, as float32") from error


def picture(text: str) -> str:
    """The file of a picture that an option names."""
    if not text.endswith((".png", ".svg", ".pdf")):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png, .svg or .pdf")
    return text


def speaks(backend: str | None) -> bool:
    """Whether this process is the one to print and to write: of ranks that all have the result, the first."""
    name = backend or os.environ.get("PARLINALG_BACKEND")
    return name != "mpi" or default_instance(name).rank == 0


def write(path: str | None, result: Any, backend: str | None) -> int:
    """Write a result to a file, or print all of it, with all digits; return the exit status."""
    if not speaks(backend):
        return 0
    if path is not None:
        with whole_file(path) as file:
            np.save(file, result)
        return 0
    with np.printoptions(threshold=sys.maxsize, floatmode="unique", linewidth=100):
        print(result)
    return 0


@contextmanager
def whole_file(path: str) -> Iterator[IO[bytes]]:
    """A new file that takes its name at the end: it is written whole, or what was there before stays."""
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise ValueError(f"{path} is a folder or a device; pass the name of a file")
    try:
        handle, name = tempfile.mkstemp(prefix=".parlinalg-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error  # nobody knows the name that mkstemp made
    os.close(handle)
    try:
        with open(name, "wb") as file:
            yield file
        os.chmod(name, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())  # as open() would
        os.replace(name, target)
    except BaseException:  # also Ctrl-C: nothing half-written stays
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
