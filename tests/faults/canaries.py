"""Canaries: what data, files and the environment must not be able to do. ``python canaries.py NAME``"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import parlinalg as pla
from parlinalg.registry import default_instance

CANARY = Path(tempfile.gettempdir()) / f"parlinalg-canary-{os.getpid()}"


class Pickle:
    """Leaves a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, (str(CANARY),)


def _refused(call: Callable[[], Any]) -> None:
    try:
        call()
    except (TypeError, ValueError):
        return
    raise AssertionError("nothing was raised")


def _silent() -> None:
    assert not CANARY.exists(), "foreign data was run"


def pickles_in_files() -> None:
    """A .npy file of objects is refused, by the call and by the command line."""
    from parlinalg.cli import main

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.npy")
        np.save(path, np.array([[Pickle()] * 2] * 2, object), allow_pickle=True)
        _refused(lambda: pla.operator(path))
        assert main(["psum", str(path)]) != 0
    _silent()


def pickles_in_arguments() -> None:
    """Object arrays never reach a worker."""
    for backend in ("process", "mpi", "ipyparallel"):
        _refused(lambda backend=backend: pla.psum(np.array([Pickle()] * 3, object), backend=backend))
    _silent()


def code_in_options() -> None:
    """Text is text."""
    text = f"__import__('os').mkdir({str(CANARY)!r})"
    for options in ({"workers": text}, {"backend": text}, {"dtype": text}, {"axis": text}):
        _refused(lambda options=options: pla.psum([1.0], **options))
    for name in ("PARLINALG_WORKERS", "PARLINALG_BACKEND"):
        os.environ[name] = text
        _refused(lambda: pla.psum([1.0]))
        del os.environ[name]
    _silent()


def code_in_a_profile() -> None:
    """It is read as JSON, and what does not fit is ignored."""
    from parlinalg.profiles import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "profile.json")
        path.write_text(f'{{"format": 1, "curves": "__import__(\'os\').mkdir({str(CANARY)!r})"}}')
        assert load(path) is None
    _silent()


def kernels_of_devices(fault: bool = False) -> None:
    """Programs hold the kernels that they are to hold, whatever the environment adds."""
    os.environ["PYOPENCL_BUILD_OPTIONS"] = "-Drow_stride=0 -cl-fast-relaxed-math"
    backend: Any = default_instance("opencl")
    A = np.arange(12.0).reshape(3, 4)
    assert pla.psum(A, backend=backend) == A.sum()
    assert np.allclose(pla.matvec(A, A[0], backend=backend), A @ A[0])
    known = {"sum_rows", "total_rows", "add_states", "add_shares", "items_along_rows", "items_along_columns"}
    known |= {"rows_in_order", "contiguous_rows_in_order", "contiguous_columns_in_order"}
    if fault:
        cl = backend.device.cl
        source = cl.Program(backend.device.context, "__kernel void evil(void) {}")
        backend.device._programs["seeded"] = source.build()
    for program in backend.device._programs.values():
        names = {kernel.function_name for kernel in program.all_kernels()}
        assert names <= known, f"more kernels than there should be: {names - known}"


def modes_of_files(fault: bool = False) -> None:
    """What is written is for its user only, and a link that lies there is not followed."""
    from parlinalg.profiles import builtin, save

    with tempfile.TemporaryDirectory() as folder:
        victim = Path(folder, "victim")
        victim.write_text("precious")
        own = Path(folder, "cache", "parlinalg")
        own.mkdir(parents=True)
        (own / "profile.json").symlink_to(victim)
        save(builtin(), own / "profile.json")
        if fault:
            (own / "profile.json").chmod(0o644)
        assert victim.read_text() == "precious", "a link was followed"
        assert (own / "profile.json").stat().st_mode & 0o077 == 0, "others can read it"
        save(builtin(), Path(folder, "new", "profile.json"))
        assert Path(folder, "new").stat().st_mode & 0o077 == 0


def files_of_workers() -> None:
    """Shared memory has no name that others could open."""
    before = set(Path("/dev/shm").iterdir())
    with pla.operator(np.ones((500, 500)), backend="process", workers=2) as op:
        op @ np.ones(500)
        assert set(Path("/dev/shm").iterdir()) == before


def sockets_of_engines() -> None:
    """Engines listen on this host only; what one needs to connect is for its user only."""
    backend: Any = default_instance("ipyparallel")
    assert pla.psum([1.0, 2.0], backend=backend) == 3
    for one in psutil.Process().children(recursive=True):
        for connection in one.net_connections():
            assert connection.status != "LISTEN" or connection.laddr.ip in ("127.0.0.1", "::1"), connection
    folder = Path(backend.team._own.folder)
    assert folder.stat().st_mode & 0o077 == 0, folder
    for path in folder.rglob("security/*.json"):
        assert path.stat().st_mode & 0o077 == 0, path


def seeded_pickle() -> None:
    """What the driver must see: a pickle that is run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.npy")
        np.save(path, np.array([Pickle()], object), allow_pickle=True)
        np.load(path, allow_pickle=True)
    try:
        _silent()
    finally:
        CANARY.rmdir()


def seeded_mode() -> None:
    """A file that others can read."""
    modes_of_files(fault=True)


def seeded_kernel() -> None:
    """A kernel that somebody has added."""
    kernels_of_devices(fault=True)


CANARIES = (
    pickles_in_files,
    pickles_in_arguments,
    code_in_options,
    code_in_a_profile,
    kernels_of_devices,
    modes_of_files,
    files_of_workers,
    sockets_of_engines,
)

if __name__ == "__main__":
    globals()[sys.argv[1]]()
    from parlinalg.registry import close_all

    close_all()
    print("ok")
