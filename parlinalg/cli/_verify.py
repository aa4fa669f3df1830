"""``parlinalg verify``: the property tests of backends, on this host."""

from __future__ import annotations

import argparse
import time
from importlib import import_module
from typing import TYPE_CHECKING

from ..registry import backends
from ._arguments import speaks

if TYPE_CHECKING:
    from ._arguments import Commands

__all__ = ["add_to"]


def add_to(commands: Commands) -> None:
    """Add the command."""
    text = "hold backends to NumPy's rules and to exact arithmetic, on this host, by the property tests of the kit"
    parser = commands.add_parser("verify", help=text, description=text)
    parser.add_argument("backends", nargs="*", metavar="NAME", help="default: every backend that can run")
    parser.add_argument("--examples", type=int, default=20, metavar="N", help="of each property; default: 20")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.examples < 1:
        raise ValueError(f"verify: --examples is {arguments.examples}; it must be positive")
    kit = import_module("parlinalg.testing")  # it needs hypothesis, which the other commands do not
    names = arguments.backends or [name for name, info in backends().items() if info.why_not is None]
    failed = 0
    for name in names:
        start = time.perf_counter()
        try:
            kit.check_backend(name, max_examples=arguments.examples)
            verdict = "ok"
        except AssertionError as error:
            verdict = f"WRONG: {error}"
            failed += 1
        if speaks(name):
            print(f"{name:12} {time.perf_counter() - start:6.1f} s  {verdict}", flush=True)
    return 1 if failed else 0
