"""What tests let engines run: a module of its own, because engines import it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

__all__ = ["fail", "mapped", "size_of_world", "sleep_in_the_second"]


def fail(*arguments: Any, **options: Any) -> None:
    raise ArithmeticError("on purpose")


def sleep_in_the_second(piece: Any, rows: range, *arguments: Any, out: Any) -> None:
    if rows.start:
        time.sleep(30)


def mapped() -> list[str]:
    return Path("/proc/self/maps").read_text().splitlines()


def size_of_world() -> int:
    from mpi4py import MPI

    return int(MPI.COMM_WORLD.Get_size())
