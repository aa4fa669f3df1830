"""Every file reads as the oldest Python that is supported. Running on all of them: ``make interpreters``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("parlinalg", "tests", "docs") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", [*FILES, ROOT / "setup.py"], ids=lambda path: str(path.relative_to(ROOT)))
def test_syntax(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 10))


def test_newer_syntax_would_be_seen() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("try:\n    pass\nexcept* ValueError:\n    pass\n", feature_version=(3, 10))
