"""The mpi backend: the suite under mpiexec, what it starts when, and its options."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from parlinalg.registry import backend_class
from ranked import on_ranks

RANKS = Path(__file__).parent / "ranks"
EXAMPLES_FOLDER = Path(__file__).parents[1] / "docs" / "examples"
EXAMPLES = {1: "few", 2: "some", 3: "few", 5: "few"}  # more ranks than 2 processors take turns

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


BITS = """
import os
import numpy as np
import parlinalg as pla
rng = np.random.default_rng(7)
A = np.ldexp(rng.standard_normal((61, 53)), rng.integers(-60, 60, (61, 53)))
for a in (A, A.astype(np.float32), A.T, A + 1j * A[::-1]):
    same = [pla.psum(a, backend="mpi") == pla.psum(a, backend="openmp", workers=2)]
    for axis in (0, 1):
        same.append((pla.psum(a, axis, backend="mpi") == pla.psum(a, axis)).all())
    same.append((pla.matvec(a, a[0], exact=True, backend="mpi") == pla.matvec(a, a[0], exact=True)).all())
    with pla.operator(a, exact=True, backend="mpi") as op:
        v = pla.DistributedArray.of(a[:, 0])
        same.append((op.T.matvec(v).gather() == pla.matvec(a.T, a[:, 0], exact=True)).all())
    os.write(1, b"same" if all(same) else b"different")
"""


def test_seven_ranks_give_the_same_bits() -> None:
    run = on_ranks(7, "-c", BITS)
    assert (run.returncode, run.stdout) == (0, 28 * "same"), run.stdout


# Examples


def test_conjugate_gradients_solve_the_system() -> None:
    run = on_ranks(3, str(EXAMPLES_FOLDER / "conjugate_gradient.py"), "200")
    assert run.returncode == 0, run.stdout
    assert run.stdout.startswith("200 equations on 3 ranks: ")


def test_speeds_of_ranks_are_printed() -> None:
    run = on_ranks(2, str(EXAMPLES_FOLDER / "ranks_speed.py"), "--quick")
    assert run.returncode == 0, run.stdout
    assert len(run.stdout.splitlines()) == 6


def scaling() -> Any:
    spec = importlib.util.spec_from_file_location("scaling", EXAMPLES_FOLDER / "scaling.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["scaling"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("size", "q"), [(1, 1), (2, 1), (4, 1), (4, 2), (6, 3), (9, 3), (16, 4), (64, 8)])
def test_what_simulated_ranks_send_is_what_the_model_says(size: int, q: int) -> None:
    module = scaling()
    n = 192  # so many rows can be dealt out evenly, but to 9 ranks
    found, expected = module.simulated(size, q, module.product(n)), module.model(n, size, q)
    assert found.messages == expected.messages
    assert found.nbytes == pytest.approx(expected.nbytes, abs=8 * 2 * size)


def test_the_grid_wins_with_many_ranks(tmp_path: Path) -> None:
    module = scaling()
    lines = list(module.lines(1e-6, 1e10, 1e11))
    assert all(grids[-1] < rows[-1] for _, rows, grids in lines)
    module.draw(lines, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
