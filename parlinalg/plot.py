"""Pictures of what was measured, by matplotlib."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "durations", "figure"]

# Okabe and Ito's colours, which colour-blind readers can tell apart; grey and black are left for NumPy and the ceiling.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
MARKERS = "osD^vPX"
GREYS = {"numpy.matvec": "#555555", "numpy.dot": "#999999"}
PLACING = 1.5  # times the duration without placing, from which on placing has a line of its own


def figure(width: float = 9.0, height: float = 5.5) -> Figure:
    """An empty figure, in inches, that needs no display.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need the package matplotlib. Install it: pip install "parlinalg[plot]"') from error
    made = Figure((width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(made)
    return made


def durations(
    rows: Iterable[Row], bandwidth: float, path: str | os.PathLike[str], *, cache: int = 0, title: str | None = None
) -> None:
    """The lecture's plot: duration of a product against the size of the matrix, one line per backend.

    The line of a backend is the faster of ``operator(A) @ x`` and ``matvec(A, x)``; where placing the matrix costs
    much, a dotted line shows the duration with placing. No product can be faster than memory is read, the dashed
    line, unless the matrix fits into the cache.

    Parameters
    ----------
    rows : iterable of Row
        Of a `Comparison`.
    bandwidth : float
        Of the memory, in bytes per second.
    path : path
        Of the file to write; its ending says the format.
    cache : int
        Bytes of the last-level cache; a line marks the matrix of that size. 0: no line.
    title : str, optional

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are no rows, or the format is unknown.
    """
    measured = list(rows)
    if not measured:
        raise ValueError("durations: rows is empty; pass the rows of a comparison")
    picture = figure()
    axes = picture.add_subplot()
    for index, name in enumerate(dict.fromkeys(row.backend for row in measured)):
        _line(axes, [row for row in measured if row.backend == name], index)
    _ceiling(axes, measured, bandwidth)
    _cache(axes, measured, cache)
    _label(axes, measured, title)
    picture.savefig(path)


def _side(row: Row) -> float:
    """Of the square matrix with as many elements."""
    return float(np.sqrt(row.m * row.n))


def _line(axes: Axes, rows: Sequence[Row], index: int) -> None:
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    if rows[0].backend in GREYS:
        colour = GREYS[rows[0].backend]
    sides = [_side(row) for row in rows]
    best = [min(row.seconds, row.seconds_with_placing) for row in rows]
    axes.loglog(sides, best, color=colour, marker=marker, markersize=5, linewidth=1.6, label=_name(rows))
    placing = [row.seconds_with_placing for row in rows]
    if placing[-1] > PLACING * best[-1]:
        label = f"{rows[-1].backend}, placing included"
        axes.loglog(sides, placing, color=colour, marker=marker, markersize=3, linewidth=1, linestyle=":", label=label)


def _name(rows: Sequence[Row]) -> str:
    least, most = min(row.workers for row in rows), max(row.workers for row in rows)
    if not most:
        return rows[0].backend
    count = str(most) if least == most else f"{least} to {most}"
    return f"{rows[0].backend}, {count} worker{'s' * (most > 1)}"


def _ceiling(axes: Axes, rows: Sequence[Row], bandwidth: float) -> None:
    """Duration of reading the operands from memory."""
    by_side = dict(sorted((_side(row), row.nbytes / bandwidth) for row in rows))
    label = f"reading memory, {bandwidth / 1e9:.0f} GB/s"
    if len(by_side) == 1:
        axes.axhline(*by_side.values(), color="black", linestyle="--", linewidth=1.2, label=label)
    else:
        axes.loglog(list(by_side), list(by_side.values()), color="black", linestyle="--", linewidth=1.2, label=label)


def _cache(axes: Axes, rows: Sequence[Row], cache: int) -> None:
    side = float(np.sqrt(cache / np.dtype(rows[0].dtype).itemsize))
    if not min(map(_side, rows)) < side < max(map(_side, rows)):
        return
    axes.axvline(side, color="#AAAAAA", linewidth=0.8)
    label = f"matrix = cache, {cache / 2**20:.0f} MiB "
    axes.text(side, 0.02, label, transform=axes.get_xaxis_transform(), ha="right", color="#777777", fontsize=8)


def _label(axes: Axes, rows: Sequence[Row], title: str | None) -> None:
    from matplotlib import ticker

    axes.set_title(title or f"How long one matrix-vector product takes, {rows[0].dtype}", loc="left")
    axes.set_xlabel("size n of the n x n matrix")
    axes.set_ylabel("duration of one product")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter(ticker.EngFormatter("s"))
    axes.grid(which="major", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
