"""Faults of what lies around a program: memory, libraries, the environment, files."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from helpers import A, check, output_of, raises

import parlinalg as pla
from parlinalg.registry import default_instance

# Memory


def out_of_memory(backend: str) -> None:
    """What must be copied and cannot be: MemoryError with the sizes; the process lives, and goes on."""
    A, x, out = np.ones((4000, 8192), "<f8"), np.ones(8192), np.empty(4000)
    swapped = A.astype(">f8")  # which a device does not take as it is
    check(backend)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))
    if backend == "process":
        size = f"{A.nbytes} bytes of shared memory"
        for given in (A, swapped, A[:, ::-1]):
            raises(MemoryError, size, call=lambda g=given: pla.matvec(g, x, out, backend=backend, workers=2))
        raises(MemoryError, size, call=lambda: pla.operator(A, backend=backend, workers=2))
    else:
        raises(MemoryError, "250. MiB", "(4000, 8192)", call=lambda: pla.matvec(swapped, x, out, backend=backend))
        device = default_instance("opencl").device  # type: ignore[attr-defined]
        raises(MemoryError, f"{230 << 20} bytes were asked for", call=lambda: device.empty(230 << 20))
    check(backend)


def device_memory() -> None:
    """A buffer that the device cannot have."""
    backend = default_instance("opencl")
    raises(MemoryError, "bytes were asked for", call=lambda: backend.device.empty(1 << 50))  # type: ignore[attr-defined]
    check("opencl")


def shared_memory_full() -> None:
    """What is not there is noticed before it is written to."""
    from parlinalg.backends import _shared

    _shared.host_room = lambda: 1 << 20
    big = np.ones((2000, 2000))
    raises(MemoryError, "bytes", call=lambda: pla.operator(big, backend="process", workers=2))
    check("process", 2)


def shared_memory_refused() -> None:
    """The kernel itself refuses to reserve it: a limit on the size of files holds for these too."""
    check("process", 2)
    unlimited = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, unlimited))
    big = np.ones((2000, 2000))
    words = "bytes of shared memory are not available", os.strerror(errno.EFBIG)
    raises(MemoryError, *words, call=lambda: pla.operator(big, backend="process", workers=2))
    raises(MemoryError, *words, call=lambda: pla.psum(big, backend="process", workers=2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
    check("process", 2)


# What is missing or wrong around


def library_missing(backend: str) -> None:
    """The reason and the remedy; auto goes on."""
    package = {"opencl": "pyopencl", "mpi": "mpi4py", "ipyparallel": "ipyparallel"}[backend]
    hide = f"""
    import importlib.util, sys
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name.split(".")[0] == {package!r} else find(name, *rest)
    sys.modules[{package!r}] = None
    import parlinalg as pla
    assert pla.psum([1.0, 2.0]) == 3
    assert "pip install" in pla.backends()[{backend!r}].why_not
    try:
        pla.psum([1.0], backend={backend!r})
    except pla.BackendUnavailable as error:
        assert "pip install" in str(error)
        print("fine")
    """
    assert output_of(hide) == "fine\n"


def environment(name: str, value: str) -> None:
    """A malformed one is an error that quotes it, or is ignored; the process lives."""
    code = """
    import numpy as np, os, parlinalg as pla
    try:
        assert pla.psum(np.ones(10**6)) == 10**6
        assert pla.psum(np.ones(10**6), backend="openmp", workers=2) == 10**6
    except (ValueError, pla.BackendUnavailable) as error:
        assert repr(os.environ[{name!r}])[1:-1] in str(error), error
    print("fine")
    """
    assert output_of(code.replace("{name!r}", repr(name)), **{name: value}).endswith("fine\n")


def broken_device(name: str, value: str) -> None:
    """OpenCL without a device, or a cache that cannot be written: an error, or the right sum."""
    code = """
    import numpy as np, parlinalg as pla
    try:
        assert pla.psum(np.ones(1000), backend="opencl") == 1000
    except pla.ParlinalgError as error:
        assert str(error)
    assert pla.psum(np.ones(1000)) == 1000
    print("fine")
    """
    assert output_of(code, **{name: value}).endswith("fine\n")


def bad_workers(backend: str) -> None:
    """Numbers that there cannot be."""
    for given in (0, -1000, 10**9, True, 2.5, "2", "__import__('os')"):
        kinds = (TypeError,) if isinstance(given, (bool, float, str)) else (ValueError,)
        raises(kinds[0], "workers", call=lambda given=given: pla.psum(A, backend=backend, workers=given))
    check(backend)


def unknown_backend() -> None:
    """It says which ones there are."""
    raises(ValueError, "'opemp'", "openmp", call=lambda: pla.psum(A, backend="opemp"))


def share_of_tests() -> None:
    """Processes of pytest-xdist have their share of the processors."""
    code = "import parlinalg as pla; print(pla.default_workers())"
    count = len(os.sched_getaffinity(0))
    assert output_of(code, PYTEST_XDIST_WORKER_COUNT=str(count)) == "1\n"
    assert output_of(code, PYTEST_XDIST_WORKER_COUNT="1") == output_of(code)


def few_processors() -> None:
    """No more workers than the process may use."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    assert pla.default_workers() == 1
    assert pla.explain(np.ones((3000, 3000)), np.ones(3000)).workers == 1
    check("openmp")


def flush_to_zero() -> None:
    """Another library leaves it behind; sums are the same, and it is as it was."""
    code = "#include <xmmintrin.h>\nvoid on(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }\n"
    code += "int get(void) { return _mm_getcsr() & 0x8040; }\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "ftz.c")
        source.write_text(code)
        library = source.with_suffix(".so")
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        mode = ctypes.CDLL(str(library))
        tiny = np.full(1000, 5e-324)
        expected = 1000 * 5e-324
        assert mode.get() == 0, "importing changes the mode"
        mode.on()
        words = pla.psum(tiny).view(np.uint64), pla.psum(tiny, backend="openmp", workers=2).view(np.uint64)
        assert mode.get() != 0, "the mode is not restored"
    assert words == (1000, 1000), (words, expected)


def damaged_profile() -> None:
    """It is ignored, with a warning."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "profile.json")
        path.write_text('{"format": 1, "curves": "none"}')
        code = "import numpy as np, parlinalg as pla; assert pla.psum(np.ones(10**6)) == 10**6; print('fine')"
        assert output_of(code, PARLINALG_PROFILE=str(path)) == "fine\n"
