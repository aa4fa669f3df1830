"""``parlinalg compare``: the lecture's experiment, as a table, a plot and a file of figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compare import Comparison, compare
from ..plot import durations
from ..profile import last_level_cache
from ._arguments import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._arguments import Commands

__all__ = ["add_to"]


def add_to(commands: Commands) -> None:
    """Add the command."""
    text = "time the same product on every backend that can run, over sizes, against NumPy, and check the results"
    parser = commands.add_parser("compare", help=text, description=text)
    parser.add_argument("A", nargs="?", help=".npy file of your own matrix; default: random ones of several sizes")
    parser.add_argument("x", nargs="?", help=".npy file of your own vector")
    parser.add_argument("--sizes", type=_sizes, metavar="N,N,...", help="of random square matrices")
    parser.add_argument("--dtype", default="float64", metavar="DTYPE", help="of random matrices; default: float64")
    parser.add_argument("--backends", type=_names, metavar="NAME,...", help="default: auto and every backend")
    parser.add_argument("--workers", type=int, metavar="N", help="default: that of this host; -1: all CPUs")
    parser.add_argument("--quick", action="store_true", help="fewer sizes, and less time for each")
    parser.add_argument("--plot", metavar="FILE", help="picture to draw: duration against size, both on log scales")
    parser.add_argument("--json", metavar="FILE", help="file for the figures")
    parser.set_defaults(run=_run)


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _names(text: str) -> list[str]:
    return text.split(",")


def _run(arguments: argparse.Namespace) -> int:
    console = _console()
    given = [load(path) for path in (arguments.A, arguments.x) if path is not None]
    with _progress(console) as report:
        result = compare(
            *given,
            sizes=arguments.sizes,
            dtype=arguments.dtype,
            backends=arguments.backends,
            workers=arguments.workers,
            quick=arguments.quick,
            progress=report,
        )
    console.print(result.table())
    if arguments.json is not None:
        _write_json(arguments.json, result)
    if arguments.plot is not None:
        durations(result.rows, result.bandwidth, arguments.plot, cache=last_level_cache())
    for row in result.disagreements:
        print(f"parlinalg: error: {row.backend} is wrong at {row.m} x {row.n} {row.dtype}", file=sys.stderr)
    return 1 if result.disagreements else 0


def _console() -> Any:
    try:
        from rich.console import Console
    except ImportError as error:
        raise ImportError('compare prints with the package rich. Install it: pip install "parlinalg[cli]"') from error
    return Console() if sys.stdout.isatty() else Console(width=120)


def _progress(console: Any) -> AbstractContextManager[Callable[[float, str], None]]:
    from rich.progress import Progress

    @contextmanager
    def bar() -> Iterator[Callable[[float, str], None]]:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=1.0)
            yield lambda share, what: progress.update(task, completed=share, description=what)

    return bar()


def _write_json(path: str, result: Comparison) -> None:
    figures = {
        "rows": [asdict(row) for row in result.rows],
        "unavailable": dict(result.unavailable),
        "bandwidth": result.bandwidth,
    }
    Path(path).write_text(json.dumps(figures, indent=1) + "\n")
