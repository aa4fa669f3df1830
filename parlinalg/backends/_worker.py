"""What runs in a process of the process backend, and how it talks with its parent."""

from __future__ import annotations

import faulthandler
import marshal
import mmap
import os
import pickle
import signal
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple
from functools import lru_cache, partial
from threading import Thread
from typing import Any

from ._separate import Failure, attempt
from ._shared import Layout, Region, array_at

__all__ = ["Call", "Message", "end_with_parent", "main", "receive", "send"]

# Plain tuples, because marshal takes a tenth of the time of pickle, and nothing that it reads is run.
Call = tuple[bytes, Layout, tuple[int, int], tuple[Layout, ...], Layout]  # pickled task, piece, its rows, args, out
Message = tuple[  # what a parent sends
    tuple[int, ...],  # keys of regions to unmap
    tuple[tuple[int, int, int, bool], ...],  # regions to map, each with an open file
    Call | None,  # answered by the fields of a Failure, or None
]

HEADER = struct.Struct("<Q")  # length of what follows
MOST_FILES = 16  # that one message brings

load_task = lru_cache(maxsize=64)(pickle.loads)


def main(worker: int, link: int) -> None:
    """Serve the parent at the other end of the socket `link`, until it closes it or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the parent
    faulthandler.enable()
    end_with_parent()
    with socket.socket(fileno=link) as parent, suppress(EOFError, ConnectionError):  # it was closed
        _serve(worker, parent)


def end_with_parent() -> None:
    """End this process when its standard input does: when the parent has died, however. Tasks find an empty one."""
    sentinel = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    Thread(target=_wait_for_end, args=(sentinel,), daemon=True).start()


def _wait_for_end(sentinel: int) -> None:
    while os.read(sentinel, 1):
        pass
    os._exit(0)  # nobody needs the result


def _serve(worker: int, parent: socket.socket) -> None:
    maps: dict[int, mmap.mmap] = {}
    while True:
        (forget, regions, call), files = receive(parent)
        for key in forget:
            del maps[key]
        for region, file in zip(regions, files, strict=True):
            maps[region[0]] = Region(*region).map(file)
            os.close(file)
        if call is not None:
            outcome = attempt(worker, partial(_run, maps, *call))
            send(parent, astuple(outcome) if isinstance(outcome, Failure) else outcome or None)


def _run(
    maps: dict[int, mmap.mmap],
    task: bytes,
    piece: Layout,
    rows: tuple[int, int],
    args: tuple[Layout, ...],
    out: Layout,
) -> int | None:
    operands = [array_at(arg, maps) for arg in args]
    flags: int | None = load_task(task)(array_at(piece, maps), range(*rows), *operands, out=array_at(out, maps))
    return flags


def send(link: socket.socket, message: Any, files: Sequence[int] = ()) -> None:
    """Send a message, and open files with it. None, the usual answer, is sent as nothing but its length."""
    body = b"" if message is None else marshal.dumps(message)
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
    if len(header) < HEADER.size:
        header += _exactly(link, HEADER.size - len(header))
    (length,) = HEADER.unpack(header)
    return (marshal.loads(_exactly(link, length)) if length else None), files


def _exactly(link: socket.socket, nbytes: int) -> bytearray:
    data = bytearray(nbytes)
    left = memoryview(data)
    while left:
        received = link.recv_into(left)
        if not received:
            raise EOFError
        left = left[received:]
    return data
