"""The exceptions that parlinalg raises besides Python's own."""

from __future__ import annotations

__all__ = ["BackendError", "BackendUnavailable", "ClosedError", "ParlinalgError"]


class ParlinalgError(Exception):
    """Base class of every exception that is parlinalg's own."""


class BackendUnavailable(ParlinalgError, RuntimeError):
    """The backend that was asked for cannot run here, or cannot run this call.

    The message holds the reason and the remedy. Only ``backend="auto"`` chooses another backend by itself.
    """


class BackendError(ParlinalgError, RuntimeError):
    """A worker died or failed while it computed.

    The backend replaces its workers, so that the next call works. Where the worker could still report, its
    traceback is the ``__cause__``.
    """


class ClosedError(ParlinalgError, ValueError):
    """An operator or a backend was used after it was closed."""
