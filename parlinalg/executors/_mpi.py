"""Tasks on ranks of MPI, by mpi4py.futures."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from ..backends._mpi import MPI
from ..errors import BackendError
from ..workers import resolve_workers
from ._base import Executor, Record
from ._futures import Futures
from ._serial import Serial
from ._task import do_chunk

__all__ = ["Outcome", "executor_of_server", "map_on_ranks", "runs_server"]


class Outcome(NamedTuple):
    """What a map leaves."""

    records: Sequence[Record]
    submitted: Sequence[float]
    size: int  # number of workers


class RankExecutor(Futures):
    """The workers of an executor of mpi4py.futures."""

    def __init__(self, function: bytes, pool: Any, size: int) -> None:
        super().__init__(function, size)
        self._pool = pool

    def submit(self, worker: int, *arguments: Any) -> Future[Any]:
        future: Future[Any] = self._pool.submit(do_chunk, *arguments)
        return future

    def close(self, cancel: bool) -> None:
        for future in self._calls:
            future.cancel()


def map_on_ranks(
    backend: MPI,
    function: bytes,
    count: int,
    workers: SupportsIndex | None,
    call: str,
    run: Callable[[Executor], Outcome],
) -> Outcome:
    """``run(executor)`` on the first rank, with the others as its workers; every rank gets the outcome."""
    from mpi4py.futures import MPICommExecutor

    ranks = backend.ranks
    others = ranks.size - 1
    size = others if workers is None else resolve_workers(workers, max(1, others))
    backend.agree(call)
    if others == 0 or count == 0:
        return run(Serial(function))
    answer = b""
    with backend.rounds.turn():
        with MPICommExecutor(ranks.comm, root=0) as pool:
            if pool is not None:
                answer = _answer(RankExecutor(function, pool, min(size, count)), run)
        length = np.array([len(answer)])
        ranks.add(length)
        said = ranks.allgather(np.frombuffer(answer, np.uint8), [int(length[0]), *[0] * others])
    outcome: Outcome | Exception = pickle.loads(said.tobytes())
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _answer(executor: Executor, run: Callable[[Executor], Outcome]) -> bytes:
    """The outcome, or what was raised, for all ranks."""
    try:
        with executor:
            return pickle.dumps(run(executor))
    except Exception as error:  # noqa: BLE001  the other ranks wait, whatever it is
        return pickle.dumps(BackendError(f"pmap on rank 0: {type(error).__name__}: {error}"))


def runs_server() -> bool:
    """Whether this is the rank of ``python -m mpi4py.futures`` that runs the program."""
    core = sys.modules.get("mpi4py.futures._core")
    return getattr(core, "SharedPool", None) is not None


def executor_of_server(function: bytes, count: int, workers: SupportsIndex | None) -> Executor:
    """The other ranks of ``python -m mpi4py.futures``, which wait for tasks."""
    from mpi4py.futures import MPIPoolExecutor

    pool = MPIPoolExecutor()
    others = pool.num_workers
    size = others if workers is None else resolve_workers(workers, others)
    return RankExecutor(function, pool, min(size, count))
