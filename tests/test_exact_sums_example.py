"""The script that measures exact sums measures what it says."""

from __future__ import annotations

import importlib.util
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

from parlinalg.testing.checks import require_same_bits

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exact_sums", ROOT / "docs/examples/exact_sums.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "exact_sums", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "BATCH", 0.0)
    return module


def test_all_numbers_of_workers_give_the_same_bits(script: ModuleType) -> None:
    names = set()
    for case in script.cases(1000):
        names.add(case.name)
        first, *others = [call() for call in case.ours.values()]
        for other in others:
            require_same_bits(other, first, case.name)
        assert case.numpy().shape == first.shape
    assert len(names) > 20


def test_the_table_is_printed(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = list(islice(script.cases(1000), 6))
    monkeypatch.setattr(script, "cases", lambda scale: iter(cases))
    monkeypatch.setattr(script, "read_bandwidth", lambda: 1e10)
    monkeypatch.setattr(sys, "argv", ["exact_sums.py", "--quick"])
    script.main()
    printed = capsys.readouterr().out
    assert all(case.name in printed for case in cases)
    assert "math.fsum of a list" in printed
