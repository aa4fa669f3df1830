"""The mpi backend: the suite under mpiexec, what it starts when, and its options."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import parlinalg as pla
from parlinalg.backends import MPI
from parlinalg.registry import backend_class

RANKS = Path(__file__).parent / "ranks"
SECONDS = 110.0
EXAMPLES = {1: "few", 2: "some", 3: "some", 5: "few"}  # 5 ranks on 2 processors take turns

if backend_class("mpi").why_not() is not None:
    pytest.skip(f"backend 'mpi' cannot run here: {backend_class('mpi').why_not()}", allow_module_level=True)


def on_ranks(size: int, *command: str, seconds: float = SECONDS, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python on so many ranks; none of them is left behind."""
    with subprocess.Popen(
        ["mpiexec", "-n", str(size), sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except BaseException:
            process.terminate()  # mpiexec ends its ranks
            process.wait(10)
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output)


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
