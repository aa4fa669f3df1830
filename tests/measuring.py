"""For tests of what measures: measurements that take no time, and mean nothing."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

compare_module: ModuleType = importlib.import_module("parlinalg.compare")  # the name `compare` is the function's

BANDWIDTH = 2e10


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `parlinalg.compare` take each time once, and not measure the memory."""
    monkeypatch.setattr(compare_module, "read_bandwidth", lambda: BANDWIDTH)
    monkeypatch.setattr(compare_module, "_settle", lambda: None)
    monkeypatch.setattr(compare_module, "BATCH", 0.0)
    monkeypatch.setattr(compare_module, "ROUNDS", range(1, 2))
