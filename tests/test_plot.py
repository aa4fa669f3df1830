"""The lecture's plot: what is drawn is what was measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D

from parlinalg import plot
from parlinalg.rows import Row

SIZES = (16, 64, 256)
BANDWIDTH = 1e10


def rows(backend: str, seconds: float, placing: float, workers: int = 2, sizes: tuple[int, ...] = SIZES) -> list[Row]:
    return [
        Row(backend, workers, n, n, "float64", 8 * n * n, seconds * n, placing * n, 1.0, 0.1, 1.0, 1.0, 0.0)
        for n in sizes
    ]


ROWS = [*rows("numpy.matvec", 2e-7, 2e-7, 0), *rows("openmp", 2e-7, 1e-7), *rows("process", 3e-7, 6e-7, 1)]


def drawn(monkeypatch: pytest.MonkeyPatch, path: Path, measured: list[Row], **options: Any) -> Axes:
    picture = Figure()
    monkeypatch.setattr(plot, "figure", lambda: picture)
    plot.durations(measured, BANDWIDTH, path, **options)
    return picture.axes[0]


def heights(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata())]


def test_a_line_for_each_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    axes = drawn(monkeypatch, tmp_path / "a.png", ROWS)
    lines = {str(line.get_label()): line for line in axes.lines}
    assert list(lines) == [
        "numpy.matvec",
        "openmp, 2 workers",
        "process, 1 worker",
        "process, placing included",
        "reading memory, 10 GB/s",
    ]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert all(list(np.asarray(line.get_xdata())) == list(SIZES) for line in lines.values())
    expected = {"openmp, 2 workers": 1e-7, "process, 1 worker": 3e-7, "process, placing included": 6e-7}
    for label, seconds in expected.items():
        assert heights(lines[label]) == pytest.approx([seconds * n for n in SIZES])
    ceiling = lines["reading memory, 10 GB/s"]
    assert heights(ceiling) == pytest.approx([8 * n * n / BANDWIDTH for n in SIZES])
    assert ceiling.get_linestyle() == "--"


def test_workers_that_depend_on_the_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured = rows("auto", 1e-7, 1e-7, 1, sizes=(16,)) + rows("auto", 1e-7, 1e-7, 4, sizes=(64,))
    axes = drawn(monkeypatch, tmp_path / "a.png", measured)
    assert axes.lines[0].get_label() == "auto, 1 to 4 workers"


def test_labels_and_units(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    axes = drawn(monkeypatch, tmp_path / "a.png", ROWS, title="A title")
    assert axes.get_title(loc="left") == "A title"
    assert axes.get_xlabel() == "size n of the n x n matrix"
    assert axes.get_ylabel() == "duration of one product"
    assert axes.yaxis.get_major_formatter()(1e-6) == "1 µs"
    assert len({line.get_color() for line in axes.lines}) == 4  # both lines of the process backend have one colour


@pytest.mark.parametrize(("cache", "marks"), [(8 * 100 * 100, 1), (8, 0), (0, 0)])
def test_the_size_of_the_cache_is_marked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: int, marks: int
) -> None:
    axes = drawn(monkeypatch, tmp_path / "a.png", ROWS, cache=cache)
    assert len(axes.texts) == marks


def test_one_size_has_its_ceiling_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    axes = drawn(monkeypatch, tmp_path / "a.png", rows("openmp", 1e-7, 1e-7, sizes=(64,)))
    assert heights(axes.lines[-1])[0] == pytest.approx(8 * 64 * 64 / BANDWIDTH)


def test_the_picture_shows_every_colour(tmp_path: Path) -> None:
    plot.durations(ROWS, BANDWIDTH, tmp_path / "a.png")
    seen = {to_hex(pixel) for pixel in np.unique(imread(tmp_path / "a.png").reshape(-1, 4), axis=0)}
    assert {"#ffffff", "#000000", "#555555", plot.COLOURS[1].lower(), plot.COLOURS[2].lower()} <= seen


@pytest.mark.parametrize(("ending", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_says_the_format(tmp_path: Path, ending: str, begins: bytes) -> None:
    path = tmp_path / f"picture.{ending}"
    plot.durations(ROWS, BANDWIDTH, path, cache=8 * 100 * 100)
    assert path.read_bytes().startswith(begins)


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows is empty"):
        plot.durations([], BANDWIDTH, tmp_path / "a.png")


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "matplotlib":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "parlinalg\[plot\]"'):
        plot.figure()
