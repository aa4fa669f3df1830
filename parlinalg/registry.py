"""Names to backends: the one table of ours, and the entry points of others."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING

from .backends._base import Backend
from .errors import BackendUnavailable
from .workers import default_workers

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["BackendInfo", "backend_class", "backends", "close_all", "default_instance", "names", "usable"]

OURS = MappingProxyType(
    {
        "numpy": "parlinalg.backends._numpy:NumPy",
        "openmp": "parlinalg.backends._openmp:OpenMP",
        "process": "parlinalg.backends._process:Process",
        "mpi": "parlinalg.backends._mpi:MPI",
        "ipyparallel": "parlinalg.backends._ipyparallel:IPyParallel",
        "opencl": "parlinalg.backends._opencl:OpenCL",
    }
)
GROUP = "parlinalg.backends"


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What ``parlinalg.backends()`` tells of one backend."""

    name: str
    why_not: str | None  # None: it can run here; otherwise the reason and the remedy
    version: str  # of what it stands on
    workers: int  # that a call uses by default; 0 where it cannot run
    devices: tuple[str, ...]  # besides the processor

    @property
    def available(self) -> bool:
        """Whether it can run here."""
        return self.why_not is None

    def __str__(self) -> str:
        if self.why_not is not None:
            return f"{self.name}: not available: {self.why_not}"
        devices = f", devices: {', '.join(self.devices)}" if self.devices else ""
        return f"{self.name}: available, {self.version}, workers: {self.workers}{devices}"


def names() -> tuple[str, ...]:
    """The names of all backends: ours, then those of installed packages in alphabetical order."""
    return (*OURS, *sorted(name for name in _entry_points() if name not in OURS))


@cache
def backend_class(name: str) -> type[Backend]:
    """The class of the backend called `name`; its module is imported now.

    Raises
    ------
    ValueError
        If no backend has this name.
    """
    if name in OURS:
        module, _, attribute = OURS[name].partition(":")
        kind: type[Backend] = getattr(import_module(module), attribute)
        return kind
    if name not in _entry_points():
        close = get_close_matches(name.lower(), names(), 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown backend {name!r}; known: 'auto', {', '.join(map(repr, names()))}{hint}")
    found = _entry_points()[name].load()
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise TypeError(f"the entry point {name!r} of the group {GROUP!r} is {found!r}, not a subclass of Backend")
    return found


def default_instance(name: str) -> Backend:
    """The instance that every call with ``backend=name`` shares, made on first use and closed at exit.

    Raises
    ------
    BackendUnavailable
        If it cannot run here.
    """
    instance = _instances.get(name)
    if instance is not None:
        return instance
    kind = backend_class(name)
    reason = kind.why_not()
    if reason is not None:
        raise BackendUnavailable(f"backend {name!r} cannot run here: {reason}")
    with _lock:
        return _instances.setdefault(name, kind())


def usable(name: str) -> bool:
    """Whether the backend called `name` can run here."""
    return name in _instances or backend_class(name).why_not() is None


def backends() -> dict[str, BackendInfo]:
    """What this host offers: for each backend whether it can run, and the reason and remedy if it cannot.

    Starts no workers and imports none of the libraries that backends stand on.

    Examples
    --------
    >>> import parlinalg
    >>> parlinalg.backends()["numpy"].available
    True
    """
    return {name: _info(name) for name in names()}


def _info(name: str) -> BackendInfo:
    try:
        kind = backend_class(name)
    except Exception as error:  # the module of another package may fail in any way; the list goes on without it
        if name in OURS:
            raise
        remedy = "Mend or uninstall the package that declares it"
        return BackendInfo(name, f"its entry point fails with {type(error).__name__}: {error}. {remedy}", "", 0, ())
    reason = kind.why_not()
    if reason is not None:
        return BackendInfo(name, reason, "", 0, ())
    workers = kind.workers or min(default_workers(), kind.capacity or default_workers())
    return BackendInfo(name, None, kind.version(), workers, kind.devices())


@cache
def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # loads half of the email package: a third of our import time

    return {point.name: point for point in entry_points(group=GROUP)}


_instances: dict[str, Backend] = {}
_lock = Lock()


@atexit.register
def close_all() -> None:
    """Close every shared instance."""
    for instance in _drain():
        instance.close()


def _drain() -> Iterator[Backend]:
    while _instances:
        yield _instances.popitem()[1]


def _forget_after_fork() -> None:
    global _lock
    _lock = Lock()
    _instances.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
