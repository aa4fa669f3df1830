"""The mpi backend: the suite under mpiexec, what it starts when, and its options."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from parlinalg.registry import backend_class
from ranked import on_ranks

RANKS = Path(__file__).parent / "ranks"
EXAMPLES = {1: "few", 2: "some", 3: "some", 5: "few"}  # 5 ranks on 2 processors take turns

if backend_class("mpi").why_not() is not None:
    pytest.skip(f"backend 'mpi' cannot run here: {backend_class('mpi').why_not()}", allow_module_level=True)


def failures(reports: Path, size: int) -> dict[str, list[int]]:
    """What failed, each once, with the ranks that it failed on."""
    found = defaultdict(list)
    for rank in range(size):
        for case in ElementTree.parse(reports / f"{rank}.xml").iter("testcase"):
            for problem in (*case.findall("failure"), *case.findall("error")):
                found[f"{case.get('classname')}::{case.get('name')}\n{problem.text}"].append(rank)
    return found


@pytest.mark.parametrize("file", ["kit.py", "distributed.py"])
@pytest.mark.parametrize("size", sorted(EXAMPLES))
def test_suite(size: int, file: str, tmp_path: Path) -> None:
    command = ("-m", "mpi4py", str(RANKS), str(tmp_path), file)
    run = on_ranks(size, *command, PARLINALG_HYPOTHESIS=EXAMPLES[size], COVERAGE_FILE=os.devnull)
    logs = "\n".join(path.read_text()[-3000:] for path in sorted(tmp_path.glob("*.txt")))
    assert len(list(tmp_path.glob("*.xml"))) == size, f"some rank ended early: {run.stdout}\n{logs}"
    failed = failures(tmp_path, size)
    assert not failed, "\n".join(f"on ranks {ranks}: {what}" for what, ranks in failed.items())
    assert run.returncode == 0, run.stdout
