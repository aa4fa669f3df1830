"""Install the package on every supported Python that is here, and use it: ``make interpreters``.

Looks for python3.10 to python3.13 on the path and among the versions of pyenv; what is absent is named, not an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tree import copy_tree

VERSIONS = ("3.10", "3.11", "3.12", "3.13")

SMOKE = """
import platform
import numpy as np
import parlinalg

A = np.arange(3000, dtype=np.float32).reshape(60, 50)
x = np.arange(50)
can_run = [name for name, info in parlinalg.backends().items() if info.available]
for name in can_run:
    with parlinalg.set_backend(name):
        np.testing.assert_allclose(parlinalg.matvec(A, x), A @ x, rtol=1e-6)
        assert parlinalg.matvec(A.astype(np.int16), x).tolist() == (A.astype(np.int64) @ x).tolist()
        assert parlinalg.psum([1e308, 1.0, 1e308, -1e308, -1e308]) == 1.0
        with parlinalg.operator(A) as resident:
            np.testing.assert_allclose(resident.matvec(x), A @ x, rtol=1e-6)
assert {"numpy", "openmp"} <= set(can_run), parlinalg.backends()
print("ok: Python", platform.python_version(), "with NumPy", np.__version__, "on", *can_run)
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="parlinalg-interpreters-") as folder:
        return max([check(version, Path(folder, version)) for version in VERSIONS])


def check(version: str, folder: Path) -> int:
    """Install and smoke-test on one version; return 1 if it is here and fails."""
    python = next(working(version), None)
    if python is None:
        print(f"not here: Python {version}", flush=True)
        return 0
    source = copy_tree(folder / "source")
    environment = folder / "environment"
    script = folder / "smoke.py"
    script.write_text(SMOKE)
    commands = (
        [python, "-m", "venv", str(environment)],
        [f"{environment}/bin/python", "-m", "pip", "install", "--quiet", str(source)],
        [f"{environment}/bin/python", str(script)],
    )
    for command in commands:
        if subprocess.run(command, cwd=folder, check=False).returncode:
            print(f"FAILED: Python {version}: {' '.join(command)}", flush=True)
            return 1
    return 0


def working(version: str) -> Iterator[str]:
    """Interpreters of one version that run; a shim of pyenv may not."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    on_path = shutil.which(f"python{version}")
    for python in filter(None, [on_path, *map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}"))]):
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            yield python


if __name__ == "__main__":
    sys.exit(main())
