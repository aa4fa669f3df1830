"""One file per backend; the classes load on first use: ``from parlinalg.backends import OpenMP``."""

from importlib import import_module
from typing import Any

from ._base import Backend, Resident

__all__ = ["Backend", "NumPy", "OpenMP", "Process", "Resident"]

_MODULES = {"NumPy": "_numpy", "OpenMP": "_openmp", "Process": "_process"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
