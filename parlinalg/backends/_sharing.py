"""Teams that map the memory of their caller: the part of them that knows memory but not workers."""

from __future__ import annotations

import os
import weakref
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from operator import or_
from threading import Lock
from typing import NamedTuple

import numpy as np

from ..errors import BackendError, ClosedError
from ._base import Array
from ._separate import Failure, Task, Team, raise_first
from ._shared import ALIGNMENT, Layout, Segment, Segments, Source, compact, parts_of_file

__all__ = ["Piece", "Pieces", "SharingTeam"]


class Piece(NamedTuple):
    """What one worker has of a scattered array."""

    rows: range
    source: Source
    layout: Layout


Pieces = list[Piece]


class SharingTeam(Team[Pieces]):
    """A team whose operands lie in segments, or files, that its workers map. A subclass says how they run a task.

    Workers and segments belong to one process. Python calls `before_fork` and `after_fork`. Of forks by C code nobody
    tells, so each use begins with `require_own`.
    """

    def __init__(self) -> None:
        self._shared_unknowingly = False
        self._begin()
        _teams.add(self)

    def _begin(self) -> None:
        self._owner = os.getpid()
        self._lock = Lock()  # held during a collective call
        self._segments = Segments()
        self._garbage: deque[Source] = deque()

    @abstractmethod
    def run(
        self, task: Task, pieces: Pieces, args: Sequence[Array], outs: Sequence[Array], scratch: Segment
    ) -> list[Failure | int | None]:
        """Let worker i run the task on piece i, and write ``outs[i]``; `args` and `outs` lie in `scratch`."""

    @abstractmethod
    def forget(self, sources: Sequence[Source]) -> None:
        """Let the workers unmap these."""

    @abstractmethod
    def give_up(self) -> None:
        """Leave a call that was interrupted or failed; afterwards, nothing of it may write into new segments."""

    def scatter(self, a: Array, ranges: Sequence[range]) -> Pieces:
        self.require_own()
        parts = parts_of_file(a, ranges) or self._copy(a, ranges)
        return [Piece(rows, source, layout) for rows, (source, layout) in zip(ranges, parts, strict=True)]

    def _copy(self, a: Array, ranges: Sequence[range]) -> list[tuple[Source, Layout]]:
        distinct = compact(a)
        with self._lock:
            segment = self._segments.take(distinct.nbytes)
        try:
            placed = np.broadcast_to(segment.copy(distinct), a.shape)
            return [(segment, segment.part(placed[rows.start : rows.stop])) for rows in ranges]
        except BaseException:  # Ctrl-C during a long copy, for example: workers may know the segment already
            self._garbage.append(segment)
            raise

    def allgather(self, task: Task, pieces: Pieces, args: Sequence[Array], out: Array, ranges: Sequence[range]) -> int:
        self.require_own()
        with self._lock:
            placed = list(pieces)
            if not placed:  # another thread freed them: their memory may hold another matrix now
                raise ClosedError("the operator is closed")
            try:
                outcomes = self._gather(task, placed, args, out, ranges)
            except BaseException:  # also Ctrl-C: nobody waits for the workers any longer, so they must not go on
                self.give_up()
                self.renew()
                raise
        self._sweep()
        raise_first(outcomes)
        return reduce(or_, (one for one in outcomes if isinstance(one, int)), 0)

    def free(self, pieces: Pieces) -> None:
        # A piece may be freed by the garbage collector in the middle of anything, so this must not wait for the lock.
        self.require_own()
        sources = {piece.source.region.key: piece.source for piece in pieces}
        pieces.clear()
        self._garbage.extend(sources.values())
        self._sweep()

    def renew(self) -> None:
        """Use no segment again that exists now."""
        self._segments = Segments()
        self._segments.retire()

    def require_own(self) -> None:
        """Start anew, if this process was forked from the owner of the workers by C code."""
        if self._owner != os.getpid():
            self.after_fork()
            self._shared_unknowingly = True

    def before_fork(self) -> None:
        """A segment that exists now may be used by both processes, so neither may use it again."""
        self.require_own()
        self._segments.retire()

    def after_fork(self) -> None:
        """Start anew, in a process that was forked."""
        self._begin()
        self.renew()

    def _gather(
        self, task: Task, pieces: Pieces, args: Sequence[Array], out: Array, ranges: Sequence[range]
    ) -> list[Failure | int | None]:
        scratch, (*copies, result) = self._scratch([*args, out])
        for copy, arg in zip(copies, args, strict=True):
            copy[...] = arg
        outcomes = self.run(task, pieces, copies, [result[rows.start : rows.stop] for rows in ranges], scratch)
        if self._shared_unknowingly:
            self._require_unchanged(pieces)
        if not any(isinstance(one, Failure) for one in outcomes):
            out[...] = result
        self._garbage.append(scratch)
        return outcomes

    def _require_unchanged(self, pieces: Pieces) -> None:
        """Raise if the process that this one was forked from by C code has put something else where the pieces were."""
        for _, source, _ in pieces:
            if isinstance(source, Segment) and self._segments.has_retired(source) and source.is_stamped():
                raise BackendError(
                    "this process was forked by C code, and the one that it was forked from has freed the matrix "
                    "since. Make a new operator"
                )

    def _scratch(self, arrays: Sequence[Array]) -> tuple[Segment, list[Array]]:
        """Shared memory for arrays like these, each from a cache line of its own on."""
        *offsets, nbytes = accumulate((-(-a.nbytes // ALIGNMENT) * ALIGNMENT for a in arrays), initial=0)
        segment = self._segments.take(nbytes)
        return segment, [segment.empty(a.shape, a.dtype, i) for a, i in zip(arrays, offsets, strict=True)]

    def _sweep(self) -> None:
        # Whoever holds the lock sweeps after releasing it, so nothing stays.
        while self._garbage and self._lock.acquire(blocking=False):
            try:
                self._sweep_locked()
            finally:
                self._lock.release()

    def _sweep_locked(self) -> None:
        while self._garbage:
            source = self._garbage.popleft()
            self.forget(self._segments.give(source) if isinstance(source, Segment) else [source])


_teams: weakref.WeakSet[SharingTeam] = weakref.WeakSet()


def _before_fork() -> None:
    for team in _teams:
        team.before_fork()


def _after_fork() -> None:
    for team in _teams:
        team.after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
