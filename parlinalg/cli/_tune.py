"""``parlinalg tune``: measure this host, for the choices of "auto"."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..tuning import tune
from ._console import console_of, progress_on

if TYPE_CHECKING:
    from ._arguments import Commands

__all__ = ["add_to"]


def add_to(commands: Commands) -> None:
    """Add the command."""
    text = "measure this host, up to a minute, and keep it in a file, from which backend='auto' chooses"
    parser = commands.add_parser("tune", help=text, description=text)
    parser.add_argument("--quick", action="store_true", help="fewer dtypes and sizes, in some seconds")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    console = console_of("tune")
    with progress_on(console) as report:
        path = tune(quick=arguments.quick, progress=report)
    console.print(f"The profile of this host is in {path}", soft_wrap=True, highlight=False)
    return 0
