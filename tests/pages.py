"""Runs what a page of the documentation shows: ``python tests/pages.py docs/quickstart.md``.

Blocks marked ``python`` run in order in one namespace: those with prompts as doctests, others as they are; but those
that begin with a comment ``# name.py`` become the file of this name. In blocks marked ``console`` the lines that begin
with ``$`` run in a shell, and must print what follows them, where ``...`` stands for anything. All run in the current
folder, so that a block finds the files of those before it. Other blocks are only shown.
"""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
PROGRAM = re.compile(r"# (\w+\.py)\n")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    kind: str
    source: str
    line: int  # of the page, on which it begins


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page that are to be run."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        yield Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1)


def run_page(page: Path) -> None:
    """Run all blocks.

    Raises
    ------
    AssertionError
        If one prints something else than the page shows.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.kind == "console":
            run_commands(block, page)
        elif program := PROGRAM.match(block.source):
            Path(program[1]).write_text(block.source, encoding="utf-8")
        elif ">>>" in block.source:
            run_doctest(block, page, namespace)
        else:
            exec(compile("\n" * (block.line - 1) + block.source, str(page), "exec"), namespace)


def run_doctest(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(block.source, namespace, page.name, str(page), block.line - 1)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    if runner.run(test, out=said.append, clear_globs=False).failed:
        raise AssertionError("".join(said))
    namespace.update(test.globs)


def run_commands(block: Block, page: Path) -> None:
    for command, expected in COMMAND.findall(block.source):
        done = subprocess.run(
            command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=100
        )
        as_shown = not expected.strip() or doctest.OutputChecker().check_output(expected, done.stdout, FLAGS)
        if done.returncode or not as_shown:
            ended = f"ends with {done.returncode} and prints\n{done.stdout}\ninstead of\n{expected}"
            raise AssertionError(f"{page}, line {block.line}: {command}\n{ended}")


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
