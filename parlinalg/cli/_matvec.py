"""``parlinalg matvec``: the product of two files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..api import matvec
from ..files import mapped
from ._arguments import add_call_options, write

if TYPE_CHECKING:
    from ._arguments import Commands

__all__ = ["add_to"]


def add_to(commands: Commands) -> None:
    """Add the command."""
    text = "multiply a matrix by a vector, each in a .npy file"
    parser = commands.add_parser("matvec", help=text, description=text)
    parser.add_argument("A", help=".npy file of the matrix, or of a batch of matrices")
    parser.add_argument("x", help=".npy file of the vector, or of a batch of vectors")
    parser.add_argument("--exact", action="store_true", help="round each element of the exact product once")
    add_call_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    A, x = mapped(arguments.A), mapped(arguments.x)
    result = matvec(
        A,
        x,
        dtype=arguments.dtype,
        exact=arguments.exact,
        backend=arguments.backend,
        workers=arguments.workers,
    )
    return write(arguments.output, result, arguments.backend)
