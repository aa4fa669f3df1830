"""What runs in an engine of the ipyparallel backend.

Of engines that can open the client's memory, only keys and layouts come by message: they map what the client has. To
others, arrays are sent.
"""

from __future__ import annotations

import mmap
import os
import platform
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._base import Array
from ._separate import Failure, Task, attempt
from ._shared import Layout, Region, array_at

__all__ = ["Address", "Call", "FilePart", "Here", "forget", "greet", "host", "run", "sees"]


class Address(NamedTuple):
    """A client: what tells its arrays from those of others, and where its open files are."""

    token: str
    host: str
    pid: int


class Here(NamedTuple):
    """What an engine says of itself."""

    pid: int
    name: str
    near: bool  # whether it can open the files of the client


class FilePart(NamedTuple):
    """A part of a file, for engines that cannot open the client's files but may see the same file system."""

    path: str
    size: int
    changed: int  # in nanoseconds
    region: Region
    layout: Layout


class Call(NamedTuple):
    """One task, and what it works on."""

    task: Task
    piece: Layout | int  # mapped, or the key of what was sent
    rows: tuple[int, int]
    args: Sequence[Layout | Array]
    out: Layout | tuple[str, tuple[int, ...]]  # mapped, or dtype and shape of what is sent back


_maps: dict[str, dict[int, mmap.mmap]] = {}
_arrays: dict[str, dict[int, Array]] = {}
_pids: dict[str, tuple[str, int]] = {}


def host() -> str:
    """What tells hosts apart, and containers that see other processes."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = os.readlink("/proc/self/ns/pid") if os.path.exists("/proc/self/ns/pid") else ""
    return f"{platform.node()} {boot.read_text().strip() if boot.exists() else ''} {space}"


def greet(client: Address, file: int, content: bytes) -> Here:
    """Find out whether the client's open `file`, which begins with `content`, can be read here."""
    near = False
    if client.host == host():
        try:
            with open(_path(client, file), "rb") as opened:
                near = opened.read(len(content)) == content
        except OSError:  # another user, or hidden
            near = False
    return Here(os.getpid(), platform.node(), near)


def sees(part: FilePart) -> bool:
    """Whether the file is here, too, as far as its size and the time of its last change tell."""
    try:
        found = os.stat(part.path)
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (part.size, part.changed)


def run(
    client: Address,
    dropped: Sequence[int],
    regions: Sequence[tuple[Region, int]],
    sent: Sequence[tuple[int, Array | FilePart]],
    number: int,
    call: Call,
) -> tuple[Any, Array | None]:
    """Map or keep what is new, run the task, and answer with its flags or the fields of a failure, and with `out`."""
    _forget_the_dead()
    maps, arrays = _maps.setdefault(client.token, {}), _arrays.setdefault(client.token, {})
    _pids[client.token] = client.host, client.pid
    for key in dropped:
        maps.pop(key, None)
        arrays.pop(key, None)
    for region, file in regions:
        with open(_path(client, file), "r+b" if region.writable else "rb") as opened:
            maps[region.key] = region.map(opened.fileno())
    arrays.update((key, _opened(one) if isinstance(one, FilePart) else one) for key, one in sent)
    mapped = isinstance(call.out[0], int)
    out: Any = array_at(call.out, maps) if mapped else np.empty(call.out[1], call.out[0])  # type: ignore[arg-type]
    piece = arrays[call.piece] if isinstance(call.piece, int) else array_at(call.piece, maps)
    args = [array_at(arg, maps) if isinstance(arg, tuple) else arg for arg in call.args]
    outcome = attempt(number, lambda: call.task(piece, range(*call.rows), *args, out=out))
    return astuple(outcome) if isinstance(outcome, Failure) else outcome, None if mapped else out


def _opened(part: FilePart) -> Array:
    with open(part.path, "rb") as file:
        return array_at(part.layout, {part.region.key: part.region.map(file.fileno())})


def forget(client: Address) -> None:
    """Drop all that a client has placed here."""
    for kept in (_maps, _arrays, _pids):
        kept.pop(client.token, None)


def _forget_the_dead() -> None:
    """Of clients on this host that have ended without a word, as after a crash."""
    mine = host()
    for token, (theirs, pid) in list(_pids.items()):
        if theirs == mine and not os.path.exists(f"/proc/{pid}") and os.path.exists("/proc/self"):
            forget(Address(token, theirs, pid))


def _path(client: Address, file: int) -> str:
    return f"/proc/{client.pid}/fd/{file}"
