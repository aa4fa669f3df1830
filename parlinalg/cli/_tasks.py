"""``parlinalg tasks``: the lecture's experiment with task maps."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from ..plot import figure
from ..schedule import SCHEDULES
from ..taskmap import TaskMap, timelines
from ..tasks import BACKENDS, pmap
from ._arguments import picture, speaks, whole_file

if TYPE_CHECKING:
    from ._arguments import Commands

__all__ = ["add_to"]


def add_to(commands: Commands) -> None:
    """Add the command."""
    text = "wait in tasks of random length, with equal shares and with whoever is free, and draw who was busy when"
    parser = commands.add_parser("tasks", help=text, description=text)
    parser.add_argument("--tasks", type=int, default=64, metavar="N", help="how many; default: 64")
    parser.add_argument("--longest", type=float, default=0.2, metavar="SECONDS", help="of a task; default: 0.2")
    parser.add_argument("--backend", choices=BACKENDS, default="process", help="default: process")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="default: 4; tasks only wait")
    parser.add_argument("--plot", type=picture, default="tasks.png", metavar="FILE", help="default: tasks.png")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.tasks < 1 or not 0 <= arguments.longest < 3600:
        raise ValueError("tasks: pass a positive number of tasks, and a length from 0 to 3600 seconds")
    delays = np.random.default_rng(64).random(arguments.tasks) * arguments.longest
    if not speaks(arguments.backend):
        _maps(delays, arguments)
        return 0
    with whole_file(arguments.plot) as file:  # before anything waits
        maps = _maps(delays, arguments)
        sheet = figure(9, 2 + len(maps) * (0.5 + 0.4 * maps[0][1].workers))
        timelines(maps, sheet.subplots(len(maps), 1, sharex=True))
        sheet.savefig(file, format=arguments.plot[-3:])
    for schedule, taskmap in maps:
        print(
            f"{schedule:8} {len(taskmap)} tasks on {taskmap.workers} workers: {taskmap.wall_time:.2f} s, "
            f"of which the tasks take {taskmap.serial_time:.2f} s; efficiency {taskmap.efficiency:.0%}"
        )
    print(f"picture: {arguments.plot}")
    return 0


def _maps(delays: np.ndarray, arguments: argparse.Namespace) -> list[tuple[str, TaskMap]]:
    workers = None if arguments.backend in ("mpi", "serial") else arguments.workers
    return [
        (schedule, pmap(time.sleep, delays.tolist(), backend=arguments.backend, workers=workers, schedule=schedule))
        for schedule in SCHEDULES
    ]
