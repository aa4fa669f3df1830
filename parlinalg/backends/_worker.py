"""What runs in a process of the process backend, and how it talks with its parent."""

from __future__ import annotations

import faulthandler
import mmap
import os
import pickle
import signal
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, NamedTuple

from ._separate import Task, attempt
from ._shared import Layout, Region

__all__ = ["Call", "Message", "main", "receive", "send"]

HEADER = struct.Struct("<Q")  # length of what follows
MOST_FILES = 16  # that one message brings


class Call(NamedTuple):
    """A task and its arguments."""

    task: Task
    piece: Layout
    rows: range
    args: list[Layout]
    out: Layout

    def run(self, maps: dict[int, mmap.mmap]) -> None:
        args = [arg.array(maps) for arg in self.args]
        self.task(self.piece.array(maps), self.rows, *args, out=self.out.array(maps))


class Message(NamedTuple):
    """What a parent sends; only a call is answered, by a Failure or None."""

    forget: list[int]  # keys of regions to unmap
    regions: list[Region]  # to map, each with an open file
    call: Call | None


def main(worker: int, link: int) -> None:
    """Serve the parent at the other end of the socket `link`, until it closes it or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the parent
    faulthandler.enable()
    Thread(target=_end_with_parent, daemon=True).start()
    with socket.socket(fileno=link) as parent:
        with suppress(EOFError, ConnectionError):  # it was closed
            _serve(worker, parent)


def _end_with_parent() -> None:
    """Wait until standard input ends, as it does when the parent has died however; then nobody needs the result."""
    while os.read(0, 1):
        pass
    os._exit(0)


def _serve(worker: int, parent: socket.socket) -> None:
    maps: dict[int, mmap.mmap] = {}
    while True:
        message, files = receive(parent)
        for key in message.forget:
            del maps[key]
        for region, file in zip(message.regions, files, strict=True):
            maps[region.key] = region.map(file)
            os.close(file)
        if message.call is not None:
            send(parent, attempt(worker, partial(message.call.run, maps)))


def send(link: socket.socket, message: Any, files: Sequence[int] = ()) -> None:
    """Send an object, and open files with it."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    data = HEADER.pack(len(body)) + body
    sent = socket.send_fds(link, [data], files) if files else 0
    link.sendall(data[sent:])


def receive(link: socket.socket) -> tuple[Any, list[int]]:
    """What was sent.

    Raises
    ------
    EOFError, ConnectionError
        If the other end is closed.
    """
    header, files, _, _ = socket.recv_fds(link, HEADER.size, MOST_FILES)
    header += _exactly(link, HEADER.size - len(header)) if header else b""
    if not header:
        raise EOFError
    return pickle.loads(_exactly(link, *HEADER.unpack(header))), files


def _exactly(link: socket.socket, nbytes: int) -> bytes:
    data = bytearray()
    while len(data) < nbytes:
        more = link.recv(nbytes - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)
