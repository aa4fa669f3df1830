"""One way to break the code on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutant"]


@dataclass(frozen=True)
class Mutant:
    name: str
    path: str
    old: str  # occurs exactly once
    new: str

    def patched(self, tree: Path) -> str:
        """The text of the broken file."""
        text = (tree / self.path).read_text()
        if text.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.name!r}: its old text occurs {text.count(self.old)} times in {self.path}; it must occur "
                f"once, so write it anew"
            )
        return text.replace(self.old, self.new)
