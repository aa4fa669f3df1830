"""Loads the compiled kernels, and with them OpenMP's runtime, whose idle threads are not to spin for long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

__all__: list[str] = []

# Turns that a thread of gcc's libgomp spins before it sleeps, some 60 us: longer than the pause between two calls in a
# loop. Its default is some 6 ms, in the way of whoever computes next, and of its own team where processors are busy
# (docs: measurements). It is read only while libgomp loads, so nothing else in this process sees it.
SETTING, TURNS = "GOMP_SPINCOUNT", "3000"


@contextmanager
def _short_spin() -> Iterator[None]:
    if SETTING in os.environ or "OMP_WAIT_POLICY" in os.environ:  # the user has decided
        yield
        return
    os.environ[SETTING] = TURNS
    try:
        yield
    finally:
        del os.environ[SETTING]


with _short_spin():
    import_module("._kernels", __package__)
