"""What a parallel map leaves: results, and the times at which its tasks ran."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from .errors import ParlinalgError
from .plot import COLOURS, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TIMELINE", "TaskError", "TaskMap", "timelines"]

TIMELINE = np.dtype(
    [
        ("task", np.int64),
        ("worker", np.int64),
        ("process", np.int64),
        ("submitted", np.float64),
        ("started", np.float64),
        ("finished", np.float64),
    ]
)


class TaskMap(Sequence[Any]):
    """The results of `pmap`, in the order of the items, and when each task ran.

    Parameters
    ----------
    results : sequence
        One for each item.
    timeline : structured array, shape (number of items,)
        The attribute `timeline`: for each task its index, the number of its worker, the id of the process, and when it
        was submitted, started and finished, in seconds from the first submission.
    workers : int
        How many there were; the attribute `workers`.

    Notes
    -----
    On one host, all times are of one clock. Of other hosts, the clock is compared by the time that messages take, so
    times there are as exact as half of that.
    """

    def __init__(self, results: Sequence[Any], timeline: NDArray[np.void], workers: int) -> None:
        self._results = list(results)
        self.timeline = timeline
        self.workers = workers

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        return self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    @property
    def wall_time(self) -> float:
        """Seconds from the first submission to the end of the last task."""
        return float(self.timeline["finished"].max(initial=0.0))

    @property
    def serial_time(self) -> float:
        """Seconds that the tasks took together: what one worker would have needed."""
        return float((self.timeline["finished"] - self.timeline["started"]).sum())

    @property
    def efficiency(self) -> float:
        """Share of the time of all workers in which they worked: 1.0 if none was ever idle."""
        return self.serial_time / (self.workers * self.wall_time) if self.wall_time else 1.0

    @property
    def idle(self) -> NDArray[np.float64]:
        """Seconds of `wall_time` in which each worker had nothing to do, shape (workers,)."""
        busy = np.zeros(self.workers)
        np.add.at(busy, self.timeline["worker"], self.timeline["finished"] - self.timeline["started"])
        return self.wall_time - busy

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the timeline: a row for each worker, a bar for each task.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: those of a new figure, which needs no display: ``taskmap.plot().figure.savefig("timeline.png")``.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return timelines([("", self)], None if ax is None else [ax])[0]

    def to_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the timeline for chrome://tracing or ui.perfetto.dev.

        Parameters
        ----------
        path : path
            Of the JSON file to write.
        """
        events = [
            {
                "name": f"task {row['task']}",
                "ph": "X",
                "pid": int(row["process"]),
                "tid": int(row["worker"]),
                "ts": 1e6 * float(row["started"]),
                "dur": 1e6 * float(row["finished"] - row["started"]),
                "args": {"submitted": float(row["submitted"])},
            }
            for row in self.timeline
        ]
        Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")

    def __repr__(self) -> str:
        return (
            f"<TaskMap: {len(self)} results, {self.workers} workers, {self.wall_time:.3g} s, "
            f"efficiency {self.efficiency:.0%}>"
        )


class TaskError(ParlinalgError, RuntimeError):
    """Some tasks of a map raised; the others were done.

    The ``__cause__`` is the exception of the first of them, whose own cause shows the traceback in the worker.

    Attributes
    ----------
    index : int
        Of the first item whose task raised.
    failures : dict
        The exceptions, by index.
    taskmap : TaskMap
        The results; where there is none, the exception.
    """

    def __init__(self, message: str, failures: dict[int, Exception], taskmap: TaskMap) -> None:
        super().__init__(message)
        self.failures = failures
        self.index = min(failures)
        self.taskmap = taskmap

    def __reduce__(self) -> tuple[Any, ...]:
        return TaskError, (str(self), self.failures, self.taskmap)


def timelines(maps: Sequence[tuple[str, TaskMap]], axes: Sequence[Axes] | None = None) -> list[Axes]:
    """The lecture's picture: a row for each worker, a bar for each task, so that idle time is what is white.

    Parameters
    ----------
    maps : sequence of (title, TaskMap)
        Drawn below each other, with one scale of time.
    axes : sequence of matplotlib Axes, optional
        One for each. None: those of a new figure.

    Returns
    -------
    list of matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    if axes is None:
        rows = max(taskmap.workers for _, taskmap in maps)
        new = figure(9, 1 + len(maps) * (0.5 + 0.4 * rows))
        axes = list(new.subplots(len(maps), 1, sharex=True, squeeze=False)[:, 0])
    for one, (title, taskmap) in zip(axes, maps, strict=True):
        _timeline(one, title, taskmap)
    axes[-1].set_xlabel("seconds since the first submission")
    return list(axes)


def _timeline(axes: Axes, title: str, taskmap: TaskMap) -> None:
    line = taskmap.timeline
    length = line["finished"] - line["started"]
    colours = [COLOURS[task % len(COLOURS)] for task in line["task"]]
    axes.barh(line["worker"], length, 0.8, line["started"], color=colours, edgecolor="white", linewidth=0.8)
    for row, seconds in zip(line, length, strict=True):
        if seconds > 0.03 * taskmap.wall_time:
            middle = row["started"] + seconds / 2
            axes.text(middle, row["worker"], str(row["task"]), ha="center", va="center", color="white", fontsize=7)
    axes.axvline(taskmap.wall_time, color="black", linewidth=1, linestyle="--")
    figures = f"{taskmap.wall_time:.2f} s, efficiency {taskmap.efficiency:.0%}"
    axes.set_title(f"{title}: {figures}" if title else figures, loc="left", fontsize=11)
    axes.set_yticks(range(taskmap.workers), [f"worker {number}" for number in range(taskmap.workers)])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
