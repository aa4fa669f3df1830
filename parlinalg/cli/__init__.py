"""The command line: each command is a thin print of a public function."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import parlinalg

from ..errors import ParlinalgError
from . import _compare, _info, _matvec, _psum, _tasks, _tune, _verify

__all__ = ["main"]

INTERRUPTED = 130  # what shells expect of a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    0: done. 1: the call failed, or results disagree. 2: the arguments are wrong. 130: Ctrl-C.
    """
    if sys.stdout is None:  # whoever started us has closed it
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  it stays open until the end
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ParlinalgError, ArithmeticError, ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        print(f"parlinalg: error: {_one_line(error)}", file=sys.stderr)
        return 1
    return status


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="parlinalg", description="Parallel matrix-vector products and exact sums.")
    parser.add_argument("--version", action="version", version=f"parlinalg {parlinalg.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (_info, _matvec, _psum, _tasks, _compare, _tune, _verify):
        module.add_to(commands)
    return parser
