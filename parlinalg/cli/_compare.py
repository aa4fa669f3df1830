"""``parlinalg compare``: the lecture's experiment, as a table, a plot and a file of figures."""

from __future__ import annotations

import argparse
import json
import math
import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..compare import LAYOUTS, Comparison, compare
from ..files import mapped
from ..plot import durations, figure
from ..profile import last_level_cache
from ..rows import Row
from ._arguments import dtype, picture, whole_file
from ._console import console_of, progress_on

if TYPE_CHECKING:
    from ._arguments import Commands

__all__ = ["add_to"]


def add_to(commands: Commands) -> None:
    """Add the command."""
    text = "time the same product on every backend that can run, over sizes, against NumPy, and check the results"
    parser = commands.add_parser("compare", help=text, description=text)
    parser.add_argument("A", nargs="?", help=".npy file of your own matrix; default: random ones of several sizes")
    parser.add_argument("x", nargs="?", help=".npy file of your own vector")
    parser.add_argument("--sizes", type=_sizes, metavar="N,N,...", help="of random square matrices")
    parser.add_argument(
        "--dtype", type=dtype, default="float64", metavar="DTYPE", help="of random matrices; default: float64"
    )
    parser.add_argument(
        "--x-dtype", type=dtype, metavar="DTYPE", help="of random vectors; default: that of the matrices"
    )
    parser.add_argument("--layout", default="C", choices=tuple(LAYOUTS), help="of random matrices; default: C")
    parser.add_argument("--backends", type=_names, metavar="NAME,...", help="default: auto and every backend")
    parser.add_argument("--workers", type=int, metavar="N", help="default: that of this host; -1: all CPUs")
    parser.add_argument("--quick", action="store_true", help="fewer sizes, and less time for each")
    text = "picture to draw, .png, .svg or .pdf: duration against size, both on log scales"
    parser.add_argument("--plot", type=picture, metavar="FILE", help=text)
    parser.add_argument("--json", metavar="FILE", help="file for the figures, in seconds and bytes per second")
    parser.set_defaults(run=_run)


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of integers, as 100,2000") from error


def _names(text: str) -> list[str]:
    return text.split(",")


def _run(arguments: argparse.Namespace) -> int:
    console = console_of("compare")
    given = [mapped(path) for path in (arguments.A, arguments.x) if path is not None]
    with ExitStack() as stack:
        # Opened before anything is measured: who waited a minute wants no error about a folder that is not there.
        files = {
            name: stack.enter_context(whole_file(path))
            for name in ("plot", "json")
            if (path := getattr(arguments, name)) is not None
        }
        if "plot" in files:
            figure()
        result = _compare(console, given, arguments)
        console.print(result.table())
        if "json" in files:
            files["json"].write(_json(result).encode())
        if "plot" in files:
            durations(result.rows, result.bandwidth, files["plot"].name, cache=last_level_cache())
    for row in result.disagreements:
        print(f"parlinalg: error: {_disagreement(row)}", file=sys.stderr)
    return 1 if result.disagreements else 0


def _compare(console: Any, given: list[Any], arguments: argparse.Namespace) -> Comparison:
    with progress_on(console) as report:
        return compare(
            *given,
            sizes=arguments.sizes,
            dtype=arguments.dtype,
            x_dtype=arguments.x_dtype,
            layout=arguments.layout,
            backends=arguments.backends,
            workers=arguments.workers,
            quick=arguments.quick,
            progress=report,
        )


def _disagreement(row: Row) -> str:
    return (
        f"{row.backend} is WRONG at {row.m} x {row.n}, {row.dtype}: its result deviates from the exact one by "
        f"{row.deviation:.3g} times the error bound"
    )


def _json(result: Comparison) -> str:
    figures = {
        "rows": [_figures(row) for row in result.rows],
        "unavailable": dict(result.unavailable),
        "bandwidth": result.bandwidth,
    }
    return json.dumps(figures, indent=1, allow_nan=False) + "\n"


def _figures(row: Row) -> dict[str, Any]:
    """JSON has no infinity, which is the deviation of what no bound allows: null stands for it."""
    deviation = row.deviation if math.isfinite(row.deviation) else None
    return {**asdict(row), "deviation": deviation, "agrees": row.agrees}
