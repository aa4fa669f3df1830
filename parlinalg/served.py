"""Ranks that `compare` starts for itself: what each of them runs, and the end that asks them.

They map A.npy and x.npy of a folder, then answer lines of standard input, "CALL NUMBER", by the seconds that one of so
many calls takes, and write the product to y.npy, until the input ends.
"""

from __future__ import annotations

import os
import sys
import time
import timeit
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .api import matvec
from .errors import BackendError
from .placing import operator
from .split import blocks

__all__ = ["Served", "ServedCall", "requests", "serve"]

Array = NDArray[Any]

SECONDS_TO_END = 5.0
CODE = "import sys; from parlinalg.served import serve; serve(sys.argv[1])"
NAP = 1e-3  # seconds between two looks for the next line, so that waiting ranks leave the processors alone


class Served:
    """Ranks of an MPI job that have one product to compute; a context manager.

    Parameters
    ----------
    A, x : ndarray
    ranks : int

    Raises
    ------
    BackendError
        If the job cannot start, or ends early.
    """

    def __init__(self, A: Array, x: Array, ranks: int) -> None:
        import subprocess  # these take a third of our import time
        import tempfile
        from shutil import rmtree, which

        launcher = which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        if launcher is None:
            raise BackendError("mpi: mpiexec is not found. Install it: pip install 'parlinalg[mpi]'")
        self._folder = Path(tempfile.mkdtemp(prefix="parlinalg-ranks-"))
        try:
            np.save(self._folder / "A.npy", A)
            np.save(self._folder / "x.npy", x)
            self._job = subprocess.Popen(
                [launcher, "-n", str(ranks), sys.executable, "-c", CODE, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except BaseException:
            rmtree(self._folder)
            raise

    @property
    def calls(self) -> tuple[ServedCall, ServedCall]:
        """The product with the matrix in place, and with placing it."""
        return ServedCall(self, 0), ServedCall(self, 1)

    def ask(self, call: int, number: int) -> tuple[float, Array]:
        """Seconds of one of `number` calls, and the result."""
        assert self._job.stdin is not None
        assert self._job.stdout is not None
        said = ""
        try:
            self._job.stdin.write(f"{call} {number}\n")
            self._job.stdin.flush()
            said = self._job.stdout.readline()
            return float(said), np.load(self._folder / "y.npy")
        except (OSError, ValueError):
            self._job.kill()
            raise BackendError(f"mpi: the ranks ended early: {said}{self._job.communicate()[1]}") from None

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        from shutil import rmtree
        from subprocess import TimeoutExpired

        try:
            self._job.communicate(timeout=SECONDS_TO_END)
        except TimeoutExpired:
            self._job.kill()
            self._job.communicate()
        rmtree(self._folder)


class ServedCall(NamedTuple):
    """One of the calls that the ranks answer, as `compare` times it."""

    served: Served
    call: int

    def __call__(self) -> Array:
        return self.served.ask(self.call, 1)[1]

    def seconds(self, number: int) -> float:
        """Of `number` calls, measured where they are made."""
        return number * self.served.ask(self.call, number)[0]


def serve(folder: str) -> None:
    """What each rank runs."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    mapped, x = np.load(Path(folder, "A.npy"), mmap_mode="r"), np.load(Path(folder, "x.npy"))
    first = blocks(mapped.shape[0], comm.Get_size())[comm.Get_rank()]
    with operator.from_local(np.array(mapped[first.start : first.stop])) as op:
        calls = partial(op.matvec, x), partial(matvec, mapped, x, backend="mpi")
        for call, number in requests(comm):
            comm.Barrier()
            seconds = timeit.timeit(calls[call], number=number) / number
            y = calls[call]()
            if comm.Get_rank() == 0:
                np.save(Path(folder, "y.npy"), y)
                print(seconds, flush=True)


def requests(comm: Any) -> Iterator[tuple[int, int]]:
    """What rank 0 reads from standard input, on every rank."""
    while True:
        line = (sys.stdin.readline() if comm.Get_rank() == 0 else "").split()
        asked = np.array([int(word) for word in line] or [-1, 0])
        request = comm.Ibcast(asked)
        while not request.Test():
            time.sleep(NAP)
        if asked[0] < 0:
            return
        yield int(asked[0]), int(asked[1])
