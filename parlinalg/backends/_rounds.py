"""Rounds in which the ranks of a communicator agree: on the call that they make, and on how it went.

A round is one small Allreduce. Errors are data: a rank that fails joins the round that the others are in, so that all
of them raise, and none waits for one that will not come.
"""

from __future__ import annotations

import builtins
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from hashlib import blake2b
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _kernels, errors
from ..errors import BackendError, BackendUnavailable
from ._ranks import Ranks
from ._separate import Failure, error_of, failure_of, raise_first

__all__ = ["Rounds"]

FLAGS = (_kernels.OVERFLOW, _kernels.INVALID)
POLL = 1e-4  # seconds between two looks at a round that has a deadline


class Rounds:
    """The rounds of one communicator; every rank joins all of them in the same order.

    Attributes
    ----------
    deadline : float or None
        Seconds after which a round that some rank does not join raises `TimeoutError`. None: it waits.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.deadline: float | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()  # held during the collective calls of one operation
        self._late: str | None = None  # why no rank knows any longer what another one does

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around the collective calls of one operation.

        Raises
        ------
        BackendError
            If another thread is in one, as the other ranks could not know whose call comes first; or if the ranks are
            out of step.
        BackendUnavailable
            In a process that was forked from a rank.
        """
        self._require_usable()
        if not self._lock.acquire(blocking=self._ranks.size == 1):
            raise BackendError(
                "mpi: another thread of this rank is in a collective call. Every rank must make the same calls in the "
                "same order: let threads call through the method submit of the backend"
            )
        try:
            yield
        finally:
            self._lock.release()

    def agree(self, call: str) -> None:
        """Compare what this rank is about to do with what the others are, during a turn.

        Raises
        ------
        ValueError
            If the calls differ; on every rank.
        """
        if self._ranks.size > 1:
            self._round(call, None)

    def run(self, task: Callable[[], int | None], call: str = "") -> int:
        """Let every rank run its task, during a turn; return the or of all their flags.

        Raises
        ------
        ValueError
            If `call` is not the same; on every rank.
        BackendError, MemoryError
            If it fails on some rank; on every rank. Or the class of what a rank passed to `tell`.
        """
        try:
            outcome: Failure | int | None = task()
        except Exception as error:  # noqa: BLE001  whatever it is, the other ranks must hear of it
            outcome = failure_of(f"rank {self._ranks.rank}", error)
        if self._ranks.size > 1:
            return self._round(call, outcome)
        raise_first([outcome])
        return outcome if isinstance(outcome, int) else 0

    def tell(self, error: Exception) -> None:
        """Let the other ranks know, in the round that they are in or come to, that this one raises `error`."""
        if self._ranks.size == 1 or self._process != os.getpid() or self._late is not None or _known(error):
            return
        failure = failure_of(f"rank {self._ranks.rank}", error)
        with self._lock, suppress(TimeoutError):  # the error itself tells more
            self._reduce("", failure)
            self._gather("", failure, told=True)
        _shared(error)

    def _require_usable(self) -> None:
        if self._process != os.getpid():
            raise BackendUnavailable("backend 'mpi' cannot run in a process that was forked from a rank")
        if self._late is not None:
            raise BackendError(f"mpi: the ranks are out of step, since {self._late}")

    def _round(self, call: str, outcome: Failure | int | None) -> int:
        most = self._reduce(call, outcome)
        if most[0] != -most[1] or most[2]:
            raise _shared(_error(self._gather(call, outcome, told=False)))
        return sum(flag for flag, seen in zip(FLAGS, most[3:], strict=True) if seen)

    def _reduce(self, call: str, outcome: Failure | int | None) -> list[int]:
        digest = int.from_bytes(blake2b(call.encode(), digest_size=7).digest(), "big")
        flags = outcome if isinstance(outcome, int) else 0
        mine = np.array([digest, -digest, isinstance(outcome, Failure), *(bool(flags & flag) for flag in FLAGS)])
        most = np.empty_like(mine)
        self._allreduce(mine, most, call)
        reduced: list[int] = most.tolist()
        return reduced

    def _allreduce(self, mine: NDArray[np.int64], most: NDArray[np.int64], call: str) -> None:
        comm, maximum = self._ranks.comm, self._ranks.mpi.MAX
        if self.deadline is None:
            comm.Allreduce(mine, most, op=maximum)
            return
        request = comm.Iallreduce(mine, most, op=maximum)
        what = call or "a product or a sum"
        try:
            self._wait(request, what, self.deadline)
        except BaseException as error:  # also Ctrl-C
            _abandoned.append((request, mine, most))
            self._late = f"{what} {'ran out of time' if isinstance(error, TimeoutError) else 'was interrupted'}"
            _abort_at_exit()
            raise

    def _wait(self, request: Any, what: str, deadline: float) -> None:
        until = time.monotonic() + deadline
        while not request.Test():
            if time.monotonic() > until:
                raise _shared(TimeoutError(f"mpi: {what}: some rank did not come within {deadline} seconds"))
            time.sleep(POLL)

    def _gather(self, call: str, outcome: Failure | int | None, *, told: bool) -> list[dict[str, Any]]:
        failure = astuple(outcome) if isinstance(outcome, Failure) else None
        said = json.dumps({"call": call, "failure": failure, "told": told}).encode()
        ranks = self._ranks
        lengths = ranks.allgather(np.array([len(said)]), [1] * ranks.size).tolist()
        texts = ranks.allgather(np.frombuffer(said, np.uint8), lengths).tobytes()
        return [json.loads(texts[end - n : end]) for end, n in zip(accumulate(lengths), lengths, strict=True)]


# Requests that nobody waits for any longer, and the arrays that MPI may still write into: they must live for ever.
_abandoned: list[tuple[Any, NDArray[np.int64], NDArray[np.int64]]] = []


def _abort_at_exit() -> None:
    """End the job when this process ends: MPI would wait there for the ranks that did not come."""
    from mpi4py.run import set_abort_status

    set_abort_status(1)


def _error(said: Sequence[dict[str, Any]]) -> Exception:
    """The first failure, or that the calls differ: the same on every rank."""
    for one in said:
        if one["failure"]:
            failure = Failure(*one["failure"])
            return error_of(failure, _kind(failure.kind, one["told"]))
    calls = [one["call"] for one in said]
    texts = []
    for call in dict.fromkeys(calls):
        ranks = [str(rank) for rank, theirs in enumerate(calls) if theirs == call]
        texts.append(f"rank{'s' * (len(ranks) > 1)} {', '.join(ranks)}: {call or 'in the middle of one'}")
    hint = "" if all(calls) else ". A rank may have been interrupted in it"
    return ValueError(f"mpi: the ranks do not make the same call. {'; '.join(texts)}{hint}")


def _kind(name: str, told: bool) -> type[Exception]:
    """The class of what a rank raises before it computes; of other failures, that of every team."""
    for names in (builtins, errors, np.exceptions) if told else ():
        kind = getattr(names, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError):
            return kind
    return MemoryError if name == "MemoryError" else BackendError


def _shared(error: Exception) -> Exception:
    """Mark an error that every rank raises."""
    vars(error)["shared_by_ranks"] = True
    return error


def _known(error: Exception) -> bool:
    """Whether every rank raises it. Floating-point errors come from results, which all ranks have."""
    return isinstance(error, FloatingPointError) or "shared_by_ranks" in vars(error)
