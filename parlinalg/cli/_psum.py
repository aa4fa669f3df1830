"""``parlinalg psum``: the correctly rounded sum of a file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..files import mapped
from ..sums import psum
from ._arguments import add_call_options, write

if TYPE_CHECKING:
    from ._arguments import Commands

__all__ = ["add_to"]


def add_to(commands: Commands) -> None:
    """Add the command."""
    text = "sum an array in a .npy file, rounded once"
    parser = commands.add_parser("psum", help=text, description=text)
    parser.add_argument("a", help=".npy file of the array")
    parser.add_argument("--axis", type=int, action="append", help="to sum over; repeat for several; default: all")
    parser.add_argument("--keepdims", action="store_true", help="keep the axes that are summed over, with length 1")
    add_call_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    result = psum(
        mapped(arguments.a),
        axis=None if arguments.axis is None else tuple(arguments.axis),
        dtype=arguments.dtype,
        keepdims=arguments.keepdims,
        backend=arguments.backend,
        workers=arguments.workers,
    )
    return write(arguments.output, result, arguments.backend)
