"""Engines of an IPython cluster."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex
from uuid import uuid4

from ..errors import BackendError
from ..workers import MOST_THREADS, check_threads
from ._base import Array
from ._cluster import OwnCluster
from ._engine import Address, Call, FilePart, Here, forget, greet, host, run, sees
from ._launch import Stopped, state_of
from ._separate import Failure, SeparateMemory, Task
from ._shared import Segment, Source, anonymous_file, array_at
from ._sharing import Piece, Pieces, SharingTeam

if TYPE_CHECKING:
    import ipyparallel

__all__ = ["IPyParallel"]

CONNECTING = 5  # seconds that a controller has to answer a client
GREETING = 8  # seconds that an engine has to answer the first time
LOOK = 0.5  # seconds after which it is asked whether the engines live
ASK = 4.0  # seconds that the controller has to answer that


class IPyParallel(SeparateMemory):
    """Engines of an IPython cluster (ipyparallel), which a notebook can share with this program.

    A matrix is placed on the engines once. Those of this host map the memory of the caller, so that no matrix travels
    by message; to others, on other hosts, it is sent.

    Parameters
    ----------
    client : ipyparallel.Client or ipyparallel.Cluster, optional
        Of a cluster that runs; it is never stopped. None: that of IPython's default profile, if it runs when the first
        call is made, as after ``ipcluster start``. Otherwise a cluster of its own, with as many engines as calls use,
        which ends with `close`, or with this process, however it ends.
    engines : sequence of int, optional
        Ids of those to use; None: all.
    threads : int
        That each engine computes with.

    Raises
    ------
    TypeError, ValueError
        If `client` is something else, or `engines` names one that there is not.
    """

    name = "ipyparallel"
    capacity = MOST_THREADS

    def __init__(
        self,
        client: ipyparallel.Client | ipyparallel.Cluster | None = None,
        engines: Sequence[int] | None = None,
        threads: SupportsIndex = 1,
    ) -> None:
        self.threads = check_threads("IPyParallel", threads)
        self._team = EngineTeam(client_of(client), engines)
        if client is not None:
            self.capacity = self.workers = len(self._team.ids())

    @property
    def team(self) -> EngineTeam:
        return self._team

    @classmethod
    def why_not(cls) -> str | None:
        if find_spec("ipyparallel") is None:
            return 'the package ipyparallel is not installed. Install it: pip install "parlinalg[ipyparallel]"'
        return None

    @classmethod
    def version(cls) -> str:
        return f"ipyparallel {version('ipyparallel')}"


class EngineTeam(SharingTeam):
    """The engines of one client. After a fault, the next call goes on with those that are left."""

    def __init__(self, client: ipyparallel.Client | None, engines: Sequence[int] | None) -> None:
        super().__init__()
        there = [] if client is None else client.ids
        if not set(engines or ()) <= set(there) or (client is not None and not there):
            raise ValueError(f"IPyParallel: engines is {engines!r}; the client has the engines {there}")
        self._given = client
        self._chosen = engines if engines is None else set(engines)
        self._forked = False
        self._reset()

    def _reset(self) -> None:
        self._client = self._given
        self._own: OwnCluster | None = None
        self._engines: dict[int, Engine] = {}
        self._caller = Caller()

    def engines(self, wanted: int) -> list[Engine]:
        """So many engines, or as many as there are, for tasks of another kind."""
        self.require_own()
        with self._lock:
            return self._ready(wanted)

    def ids(self) -> list[int]:
        """The engines that live, of those that may be used."""
        ids: list[int] = self._client.ids if self._client is not None else []
        return [one for one in ids if self._chosen is None or one in self._chosen]

    def run(
        self, task: Task, pieces: Pieces, args: Sequence[Array], outs: Sequence[Array], scratch: Segment
    ) -> list[Failure | int | None]:
        engines = self._ready(len(pieces))
        calls = []
        for number, (piece, out) in enumerate(zip(pieces, outs, strict=True)):
            engine = engines[number % len(engines)]
            calls.append(engine.start(number, task, piece, args, out, scratch))
        return [self._answer(call) for call in calls]

    def forget(self, sources: Sequence[Source]) -> None:
        keys = {source.region.key for source in sources}
        for engine in self._engines.values():
            engine.stale |= keys & engine.known
            engine.known -= keys

    def give_up(self) -> None:
        """Engines finish what they have begun, in memory that is not used again, before they begin the next call."""

    def close(self) -> None:
        self.require_own()
        with self._lock:
            self._let_go()
            self.renew()

    def _let_go(self) -> None:
        if self._own is not None:
            self._own.close()
        elif self._client is not None:
            for engine in self._engines.values():
                engine.dismiss()
            if self._given is None:
                self._client.close()
        self._reset()

    def after_fork(self) -> None:
        # The connections are the parent's: nothing may use them, nor close them.
        _of_parents.append((self._client, self._own, self._engines, self._caller))
        self._forked = self._given is not None
        self._given = None
        self._reset()
        super().after_fork()

    def _ready(self, wanted: int) -> list[Engine]:
        if self._forked:
            raise BackendError("ipyparallel: this process was forked; connect to the cluster again, by a new client")
        if self._shared_unknowingly:  # its threads could not start
            raise BackendError("ipyparallel: this process was forked by C code, so it cannot connect to engines")
        if self._own is None and self._given is None and not self.ids():
            self._find_or_start(wanted)
        elif self._own is not None and self._own.engines < wanted:
            self._own.add(wanted - self._own.engines)
        ids = self.ids()
        if not ids:
            self._let_go()
            raise BackendError("ipyparallel: no engine is left in the cluster; start some, or make a new client")
        for gone in set(self._engines) - set(ids):
            del self._engines[gone]
        for one in ids[:wanted]:
            if one not in self._engines:
                self._engines[one] = Engine(one, self._client, self._caller)
        return [self._engines[one] for one in ids[:wanted]]

    def _find_or_start(self, wanted: int) -> None:
        self._reset()
        self._client = running_client()
        if not self.ids():
            self._own = OwnCluster(wanted)
            self._client = self._own.client

    def _answer(self, call: Started) -> Failure | int | None:
        """What a call returns, as soon as it does, or its engine or the controller is dead."""
        import ipyparallel

        asked = time.monotonic()
        while not call.result.wait(LOOK):
            call.engine.require_alive()
            if time.monotonic() - asked > ASK:
                self.require_controller()
                asked = time.monotonic()
        try:
            outcome, out = call.result.get(0)
        except ipyparallel.error.RemoteError as error:
            if error.ename == "EngineError":
                raise call.engine.death(error.evalue) from None
            raise BackendError(f"ipyparallel: {call.engine} could not run a task: {error}") from error
        call.engine.drop_notes(of_client=self._own is not None)
        if out is not None:
            call.out[...] = out
        return Failure(*outcome) if isinstance(outcome, tuple) else outcome

    def require_controller(self) -> None:
        """Ask the controller something, in a thread, since the question waits for ever."""
        answered = Event()

        def ask(client: Any) -> None:
            with suppress(Exception):  # whatever it is, it is no answer
                client.queue_status()
                answered.set()

        Thread(target=ask, args=(self._client,), daemon=True).start()
        if not answered.wait(ASK):
            raise BackendError("ipyparallel: the controller of the cluster does not answer")


class Caller:
    """This process, as engines see it; they find out whether they can open its files by trying with one."""

    def __init__(self) -> None:
        token = uuid4().hex
        self.address = Address(token, host(), os.getpid())
        self.content = token.encode()
        self.proof = anonymous_file("parlinalg-client")
        os.write(self.proof, self.content)
        weakref.finalize(self, os.close, self.proof)


class Started(NamedTuple):
    """A call that an engine has been given."""

    engine: Engine
    result: ipyparallel.AsyncResult
    out: Array


class Engine:
    """One engine, as its client sees it."""

    def __init__(self, number: int, client: ipyparallel.Client, caller: Caller) -> None:
        self._number = number
        self._client = client
        self.view = client[number]
        self._caller = caller
        self._stopped = Stopped()
        self._here: Here | None = None  # until it has been greeted
        self.known: set[int] = set()  # keys of what it has mapped, or was sent
        self.stale: set[int] = set()  # of which it may forget these

    def __str__(self) -> str:
        who = f" (pid {self._here.pid} on {self._here.name})" if self._here else ""
        return f"engine {self._number}{who}"

    def start(
        self, number: int, task: Task, piece: Piece, args: Sequence[Array], out: Array, scratch: Segment
    ) -> Started:
        if self._here is None:
            caller = self._caller
            self._here = self._ask(greet, caller.address, caller.proof, caller.content)
        dropped, self.stale = sorted(self.stale), set()
        new = [source for source in (piece.source, scratch) if source.region.key not in self.known]
        rows = piece.rows.start, piece.rows.stop
        if self._here.near:
            regions = [(source.region, source.file) for source in new]
            call = Call(task, piece.layout, rows, [scratch.part(arg) for arg in args], scratch.part(out))
            sent: list[tuple[int, Array | FilePart]] = []
            self.known.update(source.region.key for source in new)
        else:
            key = piece.source.region.key
            regions, sent = [], [] if key in self.known else [(key, self._sendable(piece))]
            call = Call(task, key, rows, args, (out.dtype.str, out.shape))
            self.known.add(key)
        result = self.view.apply_async(run, self._caller.address, dropped, regions, sent, number, call)
        return Started(self, result, out)

    def _sendable(self, piece: Piece) -> Array | FilePart:
        """The array; or where it is, if it is in a file that the engine sees."""
        if not isinstance(piece.source, Segment) and Path("/proc/self/fd").exists():
            part = file_part(piece)
            if self._ask(sees, part):
                return part
        return array_of(piece)

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self.view.apply_async(function, *arguments).get(GREETING)
        except Exception as error:  # of the messages: whatever it is, this engine cannot be used
            raise self.death(f"{type(error).__name__}: {error}") from error

    def drop_notes(self, of_client: bool) -> None:
        """Of messages, which would grow for ever; a client of the user's keeps them."""
        self.view.history.clear()
        if of_client:
            self._client.history.clear()

    def require_alive(self) -> None:
        """Raise if the engine has died, or is stopped; of one on this host the system knows."""
        near = self._here.pid if self._here and self._here.near else None
        # One that waits for its parent to notice its end is a zombie.
        if self._number not in self._client.ids or (near and state_of(near) in ("", "Z")):
            raise self.death("it has died")
        if near and self._stopped.look(near):
            raise self.death("it is stopped")

    def death(self, how: str) -> BackendError:
        """The error that names it."""
        return BackendError(f"ipyparallel: {self} is lost: {how}; the next call goes on with the engines that are left")

    def dismiss(self) -> None:
        """Let it forget what it has of this client."""
        with suppress(Exception):  # it has died, or the connection is closed
            self.view.apply_async(forget, self._caller.address)


def running_client() -> ipyparallel.Client | None:
    """Of the cluster of IPython's default profile, if it runs."""
    import ipyparallel

    try:
        return ipyparallel.Cluster.from_file(profile="default", cluster_id="").connect_client_sync(timeout=CONNECTING)
    except (OSError, TimeoutError, ipyparallel.error.TimeoutError):  # there is none, or what is left of one
        return None


def client_of(given: Any) -> ipyparallel.Client | None:
    """The client that the user means."""
    if given is None:
        return None
    import ipyparallel

    if isinstance(given, ipyparallel.Cluster):
        return given.connect_client_sync(timeout=CONNECTING)
    if isinstance(given, ipyparallel.Client):
        return given
    raise TypeError(f"IPyParallel: client is {given!r}; it must be an ipyparallel.Client, a Cluster that runs, or None")


def array_of(piece: Piece) -> Array:
    """The array that a piece describes, in this process."""
    source = piece.source
    memory = source.memory if isinstance(source, Segment) else source.region.map(source.file)
    return array_at(piece.layout, {source.region.key: memory})


def file_part(piece: Piece) -> FilePart:
    """What tells the file of a piece from others."""
    found = os.fstat(piece.source.file)
    path = os.readlink(f"/proc/self/fd/{piece.source.file}")
    return FilePart(path, found.st_size, found.st_mtime_ns, piece.source.region, piece.layout)


_of_parents: list[Any] = []  # connections of the processes that this one was forked from
