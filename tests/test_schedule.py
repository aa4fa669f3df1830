"""Which worker does which task: without workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlinalg.executors._base import Chunk, Event, Executor
from parlinalg.executors._task import Done, do, dump, placed_in_time
from parlinalg.schedule import Schedule


class Scripted(Executor):
    """Workers that do their chunks in some order, and die now and then."""

    def __init__(self, size: int, order: Iterator[int], deaths: Sequence[int], streams: bool, replaces: bool) -> None:
        self.size = size
        self.streams = streams
        self.order, self.deaths, self.replaces = order, set(deaths), replaces
        self.chunks: dict[int, list[tuple[int, bytes]]] = {}

    def start(self, worker: int, chunk: Chunk) -> None:
        assert worker not in self.chunks
        assert chunk
        self.chunks[worker] = list(chunk)

    def wait(self) -> Sequence[Event]:
        busy = sorted(self.chunks)
        worker = busy[next(self.order) % len(busy)]
        chunk = self.chunks[worker]
        if self.deaths & {task for task, _ in (chunk[:1] if self.streams else chunk)}:
            del self.chunks[worker]
            return [Event(worker, [], False, "it died")]
        done, left = (chunk[:1], chunk[1:]) if self.streams else (chunk, [])
        self.chunks[worker] = left
        if not left:
            del self.chunks[worker]
        return [Event(worker, [do(abs, task, item, worker) for task, item in done], not left)]

    def replace(self, worker: int) -> bool:
        return self.replaces

    def close(self, cancel: bool) -> None:
        self.chunks.clear()


@given(
    count=st.integers(0, 12),
    size=st.integers(1, 4),
    static=st.booleans(),
    chunksize=st.none() | st.integers(1, 5),
    deaths=st.lists(st.integers(0, 11), max_size=4),
    streams=st.booleans(),
    replaces=st.booleans(),
    seed=st.integers(0, 999),
)
def test_every_task_is_done_once_or_fails(
    count: int,
    size: int,
    static: bool,
    chunksize: int | None,
    deaths: list[int],
    streams: bool,
    replaces: bool,
    seed: int,
) -> None:
    order = iter(np.random.default_rng(seed).integers(0, 100, 1000).tolist())
    executor = Scripted(size, order, deaths, streams, replaces)
    told: list[int] = []
    records = list(Schedule([dump(-n) for n in range(count)], executor, static, chunksize).run(told.append))
    assert sorted(record.task for record in records) == list(range(count))
    assert sum(told) == count
    failed = {record.task for record in records if not record.succeeded}
    assert not failed if not set(deaths) & set(range(count)) else failed >= set(deaths) & set(range(count))
    if streams and replaces:
        assert failed == set(deaths) & set(range(count))


def test_times_of_another_host_are_moved_to_this_one() -> None:
    record = do(abs, 0, dump(-1), 0)._replace(started=1000.2, finished=1000.4)
    (moved,) = placed_in_time(Done("elsewhere", 1000.1, 1000.5, [record]), sent=50.0, received=50.6)
    assert (moved.started, moved.finished) == pytest.approx((50.2, 50.4))
