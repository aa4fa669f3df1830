"""How task maps reach workers: one file per kind of worker."""

from ._base import Executor

__all__ = ["Executor"]
