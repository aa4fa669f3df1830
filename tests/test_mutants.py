"""The table of mutants fits the code; whether the tests catch them: ``make mutants``."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutant import Mutant
from mutants import MUTANTS
from tree import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_old_text_occurs_once(mutant: Mutant) -> None:
    assert mutant.patched(ROOT) != (ROOT / mutant.path).read_text()


@pytest.mark.parametrize("text", ["", "a a"])
def test_text_that_does_not_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match="'x': its old text occurs [02] times in file; it must occur once"):
        Mutant("x", "file", "a", "b").patched(tmp_path)
