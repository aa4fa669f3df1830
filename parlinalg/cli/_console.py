"""Where commands print, and how far they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["console_of", "progress_on"]


def console_of(command: str) -> Any:
    """The console of a command.

    Raises
    ------
    ImportError
        If rich is not installed.
    """
    try:
        from rich.console import Console
    except ImportError as error:
        raise ImportError(
            f'{command} prints with the package rich. Install it: pip install "parlinalg[cli]"'
        ) from error
    return Console() if sys.stdout.isatty() else Console(width=120)


@contextmanager
def progress_on(console: Any) -> Iterator[Callable[[float, str], None]]:
    """A bar, where somebody sees it, for functions that take `progress`."""
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, what: progress.update(task, completed=share, description=what)
