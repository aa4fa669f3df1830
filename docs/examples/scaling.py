"""What a product over many ranks sends, how long that takes here, and what follows for more ranks than are here.

    python docs/examples/scaling.py [--latency SECONDS --bandwidth BYTES_PER_SECOND] [--picture scaling.png]

Counts the messages and bytes of parlinalg's own code on 1 to 64 simulated ranks, by a communicator that records what
it is asked to move; nothing of this is timed. Then measures latency and bandwidth between two ranks of this machine,
unless they are given, and the rate at which it reads memory, and predicts products of 2 to 65536 ranks from them.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import EngFormatter
from mpi4py import MPI
from rich.console import Console
from rich.table import Table

from parlinalg.backends._grid import Block, DistributedBlock, Grid
from parlinalg.backends._ranks import Ranks
from parlinalg.backends._rounds import Rounds
from parlinalg.plot import figure
from parlinalg.profile import read_bandwidth
from parlinalg.split import blocks

SIMULATED = (1, 2, 4, 9, 16, 25, 36, 64)
PREDICTED = tuple(2**k for k in range(1, 17))
ORDERS = (10_000, 100_000, 1_000_000)  # of the matrices that are predicted
COLOURS = ("#0072B2", "#D55E00", "#009E73")
ITEM = 8  # bytes of a float64


class Traffic(NamedTuple):
    """What the slowest rank sends in one call."""

    messages: int
    nbytes: int


class Meeting:
    """Where simulated ranks, which are threads, meet for a collective call."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        self.slots: list[Any] = [None] * size
        self.parts: dict[int, Meeting] = {}


@dataclass
class RecordingComm:
    """A communicator between threads, which records how many messages and bytes each call would send.

    Of messages, as many as the usual algorithms take: recursive doubling, Bruck's, and recursive halving.
    """

    meeting: Meeting
    rank: int
    size: int
    sent: list[Traffic]

    def Get_rank(self) -> int:
        return self.rank

    def Get_size(self) -> int:
        return self.size

    def Split(self, color: int, key: int) -> RecordingComm:
        colors = self._exchange(color)
        members = [rank for rank, one in enumerate(colors) if one == color]
        if members[0] == self.rank:
            self.meeting.parts[color] = Meeting(len(members))
        self._exchange(None)
        return RecordingComm(self.meeting.parts[color], members.index(self.rank), len(members), self.sent)

    def Allreduce(self, mine: Any, total: Any, op: Any) -> None:
        given = total.copy() if mine is MPI.IN_PLACE else mine
        reduce = np.maximum if op == MPI.MAX else np.add
        total[...] = reduce.reduce(self._exchange(given))
        self._record(given.nbytes * math.ceil(math.log2(self.size)))

    def Allgatherv(self, sent: list[Any], received: list[Any]) -> None:
        parts = self._exchange(sent[0])
        received[0][...] = np.concatenate(parts)
        self._record(len(received[0]) - len(sent[0]))

    def Reduce_scatter(self, parts: Any, own: Any, counts: list[int], op: Any) -> None:
        first = sum(counts[: self.rank])
        own[...] = np.add.reduce([one[first : first + len(own)] for one in self._exchange(parts)])
        self._record(parts.nbytes - own.nbytes)

    def _exchange(self, value: Any) -> list[Any]:
        self.meeting.slots[self.rank] = value
        self.meeting.barrier.wait(60)
        values = list(self.meeting.slots)
        self.meeting.barrier.wait(60)
        return values

    def _record(self, nbytes: int) -> None:
        self.sent.append(Traffic(math.ceil(math.log2(self.size)), nbytes))


def simulated(size: int, q: int, work: Callable[[Grid], None]) -> Traffic:
    """Run ``work(grid)`` on a grid of size/q x q simulated ranks; return what the busiest of them sends."""
    meeting = Meeting(size)

    def rank(number: int) -> Traffic:
        ranks = Ranks(RecordingComm(meeting, number, size, []))
        grid = Grid.of(ranks, q, Rounds(ranks))
        work(grid)
        return Traffic(*map(sum, zip(*ranks.comm.sent, strict=True))) if ranks.comm.sent else Traffic(0, 0)

    with ThreadPoolExecutor(size) as pool:
        return max(pool.map(rank, range(size)), key=lambda one: one.nbytes)


def product(n: int) -> Callable[[Grid], None]:
    """One product of an n x n matrix with a distributed vector, checked."""
    A, x = np.arange(n * n, dtype=float).reshape(n, n) % 7, np.arange(n) % 5.0

    def work(grid: Grid) -> None:
        counts = [len(block) for block in blocks(n, grid.ranks.size)]
        own = blocks(n, grid.ranks.size)[grid.ranks.rank]
        out = np.empty(len(own))
        DistributedBlock(Block.of(grid, A, counts, counts, 1)).matvec(x[own.start : own.stop], out)
        np.testing.assert_array_equal(out, (A @ x)[own.start : own.stop])

    return work


def model(n: int, size: int, q: int) -> Traffic:
    """What `product` sends: the parts of x along a column, a round of 5 integers, the parts of y along a row."""
    p = size // q
    steps = [math.ceil(math.log2(k)) for k in (p, size, q)]
    return Traffic(sum(steps), ITEM * ((p - 1) * n // size + 5 * steps[1] + (q - 1) * n // size))


def predicted(n: int, size: int, q: int, latency: float, bandwidth: float, memory: float) -> float:
    """Seconds of one product: reading the own block, and sending."""
    messages, nbytes = model(n, size, q)
    return ITEM * n * n / size / memory + latency * messages + nbytes / bandwidth


def columns(size: int) -> int:
    """Of the squarest grid."""
    return max(q for q in range(1, math.isqrt(size) + 1) if size % q == 0)


def count(console: Console, n: int = 720) -> None:
    """Print what the simulated ranks sent, beside the model."""
    table = Table(title=f"one product, {n} x {n} float64, distributed x and y: what the busiest rank sends")
    for name in ("ranks", "grid", "messages", "model", "bytes", "model"):
        table.add_column(name, justify="right")
    for size in SIMULATED:
        for q in sorted({1, columns(size)}):
            found, expected = simulated(size, q, product(n)), model(n, size, q)
            cells = (found.messages, expected.messages, found.nbytes, expected.nbytes)
            table.add_row(str(size), f"{size // q} x {q}", *map(str, cells))
    console.print(table)


def measure_ranks() -> tuple[float, float]:
    """Latency in seconds, and bandwidth in bytes per second, between two ranks of this machine."""
    command = ["mpiexec", "-n", "2", sys.executable, __file__, "--between-ranks"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    latency, bandwidth = json.loads(done.stdout)
    return latency, bandwidth


def between_ranks() -> None:
    """What `measure_ranks` runs on each of two ranks."""
    ranks = Ranks(MPI.COMM_WORLD)

    def seconds(n: int, calls: int) -> float:
        part, times = np.zeros(n), []
        for _ in range(calls):
            start = MPI.Wtime()
            ranks.allgather(part, [n, n])
            times.append(MPI.Wtime() - start)
        return float(np.median(times))

    short, long = seconds(1, 1000), seconds(4_000_000, 20)
    if ranks.rank == 0:
        print(json.dumps([short, ITEM * 4_000_000 / (long - short)]))


def lines(latency: float, bandwidth: float, memory: float) -> Iterator[tuple[int, list[float], list[float]]]:
    """For each order of matrix, the seconds of blocks of rows, and of the squarest grid."""
    for n in ORDERS:
        rows, grids = (
            [predicted(n, size, q(size), latency, bandwidth, memory) for size in PREDICTED]
            for q in (lambda size: 1, columns)
        )
        yield n, rows, grids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, help="seconds of a message; None: measured")
    parser.add_argument("--bandwidth", type=float, help="bytes per second between ranks; None: measured")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--between-ranks", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.between_ranks:
        between_ranks()
        return
    console = Console(width=100)
    count(console)
    latency, bandwidth = arguments.latency, arguments.bandwidth
    if latency is None or bandwidth is None:
        latency, bandwidth = measure_ranks()
    memory = read_bandwidth()
    between = f"latency {latency * 1e6:.1f} us, {bandwidth / 1e9:.1f} GB/s between ranks"
    console.print(f"{between}, {memory / 1e9:.1f} GB/s of memory")
    predictions = list(lines(latency, bandwidth, memory))
    for n, rows, grids in predictions:
        wins = next((size for size, a, b in zip(PREDICTED, rows, grids, strict=True) if b < 0.9 * a), None)
        fastest = f"at best {min(rows) * 1e6:.0f} us by rows, {min(grids) * 1e6:.0f} us by a grid"
        console.print(f"n = {n:,}: {fastest}, which is a tenth faster from {wins} ranks on")
    if arguments.picture:
        draw(predictions, arguments.picture)


def draw(predictions: list[tuple[int, list[float], list[float]]], path: Path) -> None:
    """Seconds over ranks: a line for each order and way to deal out."""
    picture = figure(9, 6)
    axes = picture.add_subplot()
    for colour, (n, rows, grids) in zip(COLOURS, predictions, strict=True):
        axes.loglog(PREDICTED, rows, color=colour, label=f"n = {n:,}, blocks of rows")
        axes.loglog(PREDICTED, grids, color=colour, linestyle="--", label=f"n = {n:,}, grid")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("ranks, each with the memory bandwidth of this machine")
    axes.set_ylabel("duration of one product, predicted")
    axes.yaxis.set_major_formatter(EngFormatter("s"))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    picture.savefig(path)


if __name__ == "__main__":
    main()
