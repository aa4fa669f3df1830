"""Libraries that do not survive a fork."""

from __future__ import annotations

import os
from typing import Any

from ..errors import BackendUnavailable

__all__ = ["ForkGuard"]


class ForkGuard:
    """Refuses to go on in a process that was forked from one that has used a library.

    Parameters
    ----------
    message : str
        Of the error.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._users: set[int] = set()  # a forked process has those above it
        self._kept: list[Any] = []

    def is_foreign(self) -> bool:
        """Whether this process was forked from one that has used the library."""
        return bool(self._users - {os.getpid()})

    def require(self) -> None:
        """Raise `BackendUnavailable` in such a process."""
        if self.is_foreign():
            raise BackendUnavailable(self._message)

    def enter(self) -> None:
        """The same; from now on, this process uses the library."""
        self.require()
        self._users.add(os.getpid())

    def keep(self, *things: Any) -> None:
        """Never release these in such a process: a thread of the library may have held its lock at the fork."""
        self._kept.extend(things)
