"""Programs on several ranks, for tests of the mpi backend."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["SECONDS", "on_ranks"]

SECONDS = 110.0


def on_ranks(
    size: int, *command: str, seconds: float = SECONDS, **environment: str
) -> subprocess.CompletedProcess[str]:
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
