"""What was measured: one contender at one size, and the table of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

__all__ = ["Row", "table"]


@dataclass(frozen=True, slots=True)
class Row:
    """One contender at one size. Times are medians, in seconds per call."""

    backend: str  # name of a backend, "auto", or NumPy's function
    workers: int  # 0: NumPy decides
    m: int  # rows
    n: int  # columns
    dtype: str  # of the result
    nbytes: int  # of A, x and the result: what a product must move at least
    seconds: float  # of ``operator(A) @ x``, with the matrix already in place
    seconds_with_placing: float  # of ``matvec(A, x)``, which places the matrix first where the backend has to
    gigabytes_per_second: float  # with the matrix in place
    share_of_bandwidth: float  # of the measured read bandwidth, which a matrix that fits into a cache can exceed; on
    # a device with memory of its own, of the bandwidth of copies there
    speedup: float  # over ``numpy.matvec``, with the matrix in place
    speedup_with_placing: float
    deviation: float  # largest, in units of the error bound; above 1 the result is wrong
    device: str = ""  # that a backend computes with, besides the processors of this host

    @property
    def agrees(self) -> bool:
        """Whether the result is as close to the reference as the error bound promises."""
        return self.deviation <= 1


def table(rows: Iterable[Row], unavailable: Mapping[str, str], bandwidth: float, title: str | None = None) -> Group:
    """All rows as a table that the package rich prints; backends that could not take part, with the reason, last.

    Raises
    ------
    ImportError
        If rich is not installed.
    """
    try:
        from rich.console import Group
        from rich.text import Text
    except ImportError as error:
        raise ImportError('tables need the package rich. Install it: pip install "parlinalg[cli]"') from error
    rows = list(rows)
    widths = (
        max((len(_shape(row)) for row in rows), default=0),
        max(map(len, (*(row.backend for row in rows), *unavailable)), default=0),
    )
    notes = (
        f"Memory bandwidth: {bandwidth / 1e9:.1f} GB/s, measured by reading. A matrix that fits into the processor's "
        "cache can exceed it.\nError: largest deviation from the exact product, in units of the error bound; "
        "above 1 the result is wrong."
    )
    devices = dict.fromkeys(f"{row.backend} computes on {row.device}." for row in rows if row.device)
    notes = "\n".join([*devices, notes])
    return Group(_measured(rows, widths, title), _missing(unavailable, widths), Text(notes, style="dim"))


def _measured(rows: list[Row], widths: tuple[int, int], title: str | None) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading, width in zip(("\nsize", "\nbackend"), widths, strict=True):
        table.add_column(heading, min_width=max(width, len("backend")), no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        last = following is None or (following.m, following.n) != (row.m, row.n)
        table.add_row(*_cells(row), end_section=last)
    return table


HEADINGS = (
    "\nworkers",
    "matrix\nin place",
    "x\nNumPy",
    "placed each\ntime",
    "x\nNumPy",
    "\nGB/s",
    "of memory\nbandwidth",
    "\nerror",
)


def _cells(row: Row) -> tuple[str, ...]:
    error = f"{row.deviation:.2g}"
    return (
        _shape(row),
        row.backend,
        str(row.workers or "-"),
        _duration(row.seconds),
        _ratio(row.speedup),
        _duration(row.seconds_with_placing),
        _ratio(row.speedup_with_placing),
        f"{row.gigabytes_per_second:.1f}",
        f"{row.share_of_bandwidth:.0%}",
        error if row.agrees else f"[bold red]WRONG: {error}[/]",
    )


def _shape(row: Row) -> str:
    return f"{row.m} x {row.n}"


def _missing(unavailable: Mapping[str, str], widths: tuple[int, int]) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=False, padding=(0, 1))
    for width in widths:
        table.add_column(min_width=max(width, len("backend")), no_wrap=True)
    table.add_column()
    for name, reason in unavailable.items():
        table.add_row("", name, escape(reason))
    return table


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def _duration(seconds: float) -> str:
    """Three digits and a unit: ``1.23 ms``."""
    for unit, scale in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)):
        if seconds < 999.5 * scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds:.3g} s"
