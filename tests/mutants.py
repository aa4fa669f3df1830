"""Break the code on purpose, one way at a time, and see that the tests fail: ``make mutants``.

``python tests/mutants.py NAME...`` runs only the mutants whose names contain one of these words.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutant import Mutant
from mutants_of_kernels import OF_KERNELS
from tree import ROOT, copy_tree

# All but the test of the table below: it would find every mutant by its text.
TESTS = ("tests", "--ignore=tests/test_mutants.py", "-m", "not slow", "-x", "-q", "--tb=line", "-p", "no:cacheprovider")
LONGEST = 900  # seconds; a mutant that makes the tests hang is caught by their own timeout before

MUTANTS = (
    *OF_KERNELS,
    Mutant(
        "auto: what a probe in a busy moment finds holds for ever",
        "parlinalg/dispatch.py",
        "_pause if model.doubted else math.inf",
        "math.inf",
    ),
    Mutant(
        "masks: what is masked counts",
        "parlinalg/operands.py",
        "bits = np.negative(mask.astype(",
        "bits = np.negative((mask | True).astype(",
    ),
    Mutant(
        "masks: the imaginary part kept",
        "parlinalg/operands.py",
        "((kept.real, a.real), (kept.imag, a.imag))",
        "((kept.real, a.real), (kept.imag, a.real))",
    ),
    Mutant(
        "sums with an initial number: it is left out of pieces",
        "parlinalg/sums.py",
        "            part = np.concatenate([flat, last], axis=-1)\n",
        "",
    ),
    Mutant(
        "children of multiprocessing take all processors",
        "parlinalg/workers.py",
        "return 0 if _has_siblings() else _test_workers(), _fixed_limit()",
        "return _test_workers(), _fixed_limit()",
    ),
    Mutant("BLAS for rows from memory", "parlinalg/model.py", "order = _numpy_last if", "order = _numpy_first if"),
    Mutant(
        "remainder rows dropped, as in the lecture", "parlinalg/split.py", "i * short + min(i, longer)", "i * short"
    ),
    Mutant(
        "numpy: first rows skipped",
        "parlinalg/backends/_numpy.py",
        "range(0, A.shape[-2], most)",
        "range(most, A.shape[-2], most)",
    ),
    Mutant(
        "numpy: first columns skipped",
        "parlinalg/backends/_numpy.py",
        "range(0, A.shape[-1], most)",
        "range(most, A.shape[-1], most)",
    ),
    Mutant(
        "process: first worker's sums only",
        "parlinalg/backends/_separate.py",
        "np.add.reduce(parts, axis=0)",
        "parts[0]",
    ),
    Mutant(
        "process: x not cut to a worker's rows",
        "parlinalg/backends/_separate.py",
        "_kernels.matvec(A.T, x[rows.start : rows.stop]",
        "_kernels.matvec(A.T, x[: len(rows)]",
    ),
    Mutant(
        "process: x of an exact product not cut to a worker's rows",
        "parlinalg/backends/_separate.py",
        "product_states(A.T, x[rows.start : rows.stop]",
        "product_states(A.T, x[: len(rows)]",
    ),
    Mutant(
        "opencl: last share of the columns only",
        "parlinalg/backends/opencl/products.cl",
        "s = ADD(s, parts[",
        "s = (parts[",
    ),
    Mutant(
        "opencl: state of the last part only",
        "parlinalg/backends/opencl/states.cl",
        "total += of_parts",
        "total = of_parts",
    ),
    Mutant("sum: rounded twice", "parlinalg/sums.py", 'return out.dtype.newbyteorder("=")', "return plan.dtype"),
    Mutant("sum: where ignored", "parlinalg/states.py", "a if mask is None else masked(a, mask)", "a"),
    Mutant("sum: initial ignored", "parlinalg/sums.py", "states += states_of(choice, addend, 0)", "pass"),
    Mutant("overlap of out and x ignored", "parlinalg/api.py", "not may_overlap(out, A, x)", "True"),
)


def main(words: list[str]) -> int:
    mutants = [one for one in MUTANTS if not words or any(word in one.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="parlinalg-mutants-") as folder:
        whole = copy_tree(Path(folder, "whole"))
        verdicts = [run("(nothing broken)", whole, build=True)]
        if verdicts != ["survived"]:
            print("the tests fail although nothing is broken: mend that first")
            return 1
        for mutant in mutants:
            tree = Path(folder, "broken")
            shutil.copytree(whole, tree)
            (tree / mutant.path).write_text(mutant.patched(tree))
            verdicts.append(run(mutant.name, tree, build=mutant.path.startswith("ext/")))
            shutil.rmtree(tree)
    caught = verdicts.count("caught")
    print(f"{caught} of {len(mutants)} mutants caught")
    return 0 if caught == len(mutants) else 1


def run(name: str, tree: Path, build: bool) -> str:
    """Build and test one tree, print a line, and say what became of it."""
    started = time.monotonic()
    verdict, detail = judge(tree, build)
    print(f"{verdict:10} {time.monotonic() - started:5.0f} s  {name:45} {detail}", flush=True)
    return verdict


def judge(tree: Path, build: bool) -> tuple[str, str]:
    if build:
        built = command(tree, "setup.py", "-q", "build_ext", "--inplace")
        if built.returncode:
            return "not built", last_line(built.stderr)
    try:
        tested = command(tree, "-m", "pytest", *TESTS)
    except subprocess.TimeoutExpired:
        return "caught", f"the tests hang for more than {LONGEST} s"
    if tested.returncode == 0:
        return "survived", last_line(tested.stdout)
    failures = [line for line in tested.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if tested.returncode == 1 and failures:
        return "caught", failures[0].partition(" - ")[0]
    if tested.returncode < 0:
        return "caught", f"the process ended by signal {-tested.returncode}"
    if "floating-point operations of this build are not those of IEEE 754" in tested.stdout + tested.stderr:
        return "caught", "the trial of floating-point arithmetic at import"
    return "error", last_line(tested.stdout) or last_line(tested.stderr)


def command(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The path comes first, so that an installed parlinalg is not the one that is tested.
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PARLINALG_REQUIRE", None)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )


def last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "")


if __name__ == "__main__":
    for each in MUTANTS:
        each.patched(ROOT)
    sys.exit(main(sys.argv[1:]))
