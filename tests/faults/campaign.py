"""The campaign: ``python tests/faults/campaign.py [--quick] [--rows R1,R4] [--markdown FILE]`` prints the scoreboard.

Each case is a process of its own, under a hard timeout that is kept here. A skipped case counts as one that failed, and
is named. Each detector is first shown to find a fault that was put there for it. Exit status 1 if anything falls short.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cases
from rich.console import Console
from rich.table import Table
from run import Outcome

FAILED = 1


@dataclass
class Row:
    """One line of the scoreboard."""

    name: str
    what: str
    good: int = 0
    total: int = 0
    seconds: float = 0.0
    short: list[str] = field(default_factory=list)  # cases that failed or were skipped

    def add(self, case: str, outcome: Outcome) -> None:
        """Count one case."""
        self.total += 1
        self.seconds += outcome.seconds
        if outcome.survived:
            self.good += 1
        else:
            self.short.append(f"{case}: {outcome.status}: {outcome.detail}")


def play(row: Row, found: Iterator[tuple[str, Callable[[], Outcome]]], console: Console) -> dict[str, Outcome]:
    """Run the cases of a row, one after the other."""
    outcomes = {}
    for name, case in found:
        outcome = outcomes[name] = case()
        row.add(name, outcome)
        mark = "" if outcome.survived else f"  [red]{outcome.status}: {outcome.detail[:150]}[/]"
        console.print(f"{row.name} {name} {outcome.seconds:.1f} s{mark}", highlight=False)
    return outcomes


def campaign(quick: bool, wanted: set[str], folder: Path, console: Console) -> list[Row]:
    """All rows, or those that are wanted; the detectors first."""
    rows = [Row("D", "detectors that found the fault that was put there")]
    play(rows[0], cases.detectors(quick), console)
    for name, what, found in cases.rows(quick, folder):
        if wanted and name not in wanted:
            continue
        row = Row(name, what)
        outcomes = play(row, found, console)
        rows.append(row)
        if name == "R1":
            rows += _of_all(outcomes)
    return rows


def _of_all(outcomes: dict[str, Outcome]) -> list[Row]:
    """R2 and R3 are counted over the cases of R1."""
    rows = []
    for name, status, what in (("R2", "hang", "cases without a hang"), ("R3", "death", "cases without a death")):
        row = Row(name, what)
        for case, outcome in outcomes.items():
            survived = outcome.status != status
            row.add(case, Outcome("ok" if survived else status, 0.0, outcome.detail))
        rows.append(row)
    return rows


def shown(rows: list[Row]) -> Table:
    """The scoreboard."""
    table = Table(title="Faults", title_justify="left")
    for heading, justify in (("row", "left"), ("what", "left"), ("n/N", "right"), ("seconds", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("fell short", overflow="fold")
    for row in rows:
        table.add_row(
            row.name, row.what, f"{row.good}/{row.total}", f"{row.seconds:.0f}", "\n".join(row.short) or "none"
        )
    return table


def markdown(rows: list[Row]) -> str:
    """The same, for the docs."""
    lines = ["| row | what | n/N | seconds | fell short |", "| --- | --- | --: | --: | --- |"]
    for row in rows:
        short = "<br>".join(one.replace("|", "/") for one in row.short) or "none"
        lines.append(f"| {row.name} | {row.what} | {row.good}/{row.total} | {row.seconds:.0f} | {short} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less than three minutes")
    parser.add_argument("--rows", default="", help="some of them, as R1,R4")
    parser.add_argument("--markdown", type=Path, help="file for the scoreboard")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="calls under random faults instead")
    arguments = parser.parse_args()
    console = Console(width=160)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        if arguments.soak:
            rows = [Row("S", "calls under random faults")]
            play(rows[0], cases.soak(arguments.soak), console)
        else:
            rows = campaign(arguments.quick, set(filter(None, arguments.rows.split(","))), Path(folder), console)
    console.print(shown(rows))
    notes = [] if arguments.soak else cases.notes(arguments.quick)
    console.print(*notes, f"{time.monotonic() - start:.0f} s", sep="\n")
    if arguments.markdown:
        arguments.markdown.write_text("\n".join([markdown(rows), *notes]) + "\n")
    return 0 if all(row.good == row.total for row in rows) else FAILED


if __name__ == "__main__":
    sys.exit(main())
