"""The opencl backend: every device that is here, the kernels of others, and what devices cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parlinalg as pla
from parlinalg.backends import OpenCL
from parlinalg.registry import backend_class
from parlinalg.testing import BackendSuite
from parlinalg.testing.base import ALLOWED
from parlinalg.testing.checks import require_close, require_same_bits
from parlinalg.testing.oracle import exact_matvec, exact_sum
from parlinalg.testing.strategies import LAYOUTS, PRODUCT_DTYPES, fill, lay_out, normal

if backend_class("opencl").why_not() is not None:
    pytest.skip(f"backend 'opencl' cannot run here: {backend_class('opencl').why_not()}", allow_module_level=True)

import pyopencl
import pyopencl.array

from parlinalg.backends import _device
from parlinalg.backends._device import Device, all_devices, describe, find

DEVICES = all_devices()
DEFAULT = DEVICES.index(find(None))
FEW = settings(max_examples=6, deadline=None, suppress_health_check=ALLOWED)
A = np.random.default_rng(0).standard_normal((70, 50))
X = A[0].copy()


def suite(name: str, backend: OpenCL) -> type[BackendSuite]:
    """The kit on one device."""
    made = type(name, (BackendSuite,), {"backend": backend})
    for one in (one for one in dir(made) if hasattr(getattr(made, one), "arguments")):
        test = getattr(made, one)
        setattr(made, one, FEW(given(**test.arguments)(test.hypothesis.inner_test)))
    return made


# The default device has a suite among those of all backends.
globals().update({f"TestDevice{i}": suite(f"TestDevice{i}", OpenCL(i)) for i in range(len(DEVICES)) if i != DEFAULT})


class Pretended(Device):
    """A processor that says that it is a GPU, so that the kernels of GPUs run here."""

    def __init__(self) -> None:
        super().__init__(find(None))
        self.is_processor = False


def as_gpu() -> OpenCL:
    backend = OpenCL()
    backend.device = Pretended()
    return backend


@pytest.fixture
def pretended() -> OpenCL:
    return as_gpu()


TestKernelsOfGPUs = suite("TestKernelsOfGPUs", as_gpu())


# Products


@FEW
@given(
    dtype=st.sampled_from([one for one in PRODUCT_DTYPES if one.char not in "gG"]),
    m=st.sampled_from([0, 1, 3, 4, 5, 31, 33, 130, 700]),
    n=st.sampled_from([0, 1, 3, 8, 31, 65, 300]),
    layout=st.sampled_from(sorted(LAYOUTS)),
    gpu=st.booleans(),
    seed=st.integers(0, 999),
)
def test_every_shape_and_layout(dtype: Any, m: int, n: int, layout: str, gpu: bool, seed: int) -> None:
    backend = as_gpu() if gpu else OpenCL()
    rng = np.random.default_rng(seed)
    matrix = lay_out(fill(rng, (m, n), dtype.newbyteorder("="), normal), layout)
    x, z = fill(rng, (n,), dtype.newbyteorder("="), normal), fill(rng, (m,), dtype.newbyteorder("="), normal)
    with np.errstate(all="ignore"), pla.operator(matrix, backend=backend) as op:
        require_close(op @ x, exact_matvec(matrix, x), "matvec")
        require_close(op.rmatvec(z), exact_matvec(matrix.conj().T, z), "rmatvec")


def test_indices_of_64_bits() -> None:
    n = 46_342  # squared beyond 2**31
    matrix = np.broadcast_to(np.int8(1), (n, n))
    y = pla.matvec(matrix, np.ones(n, np.int8), backend="opencl", dtype=np.int8)
    assert (y == np.int8(n & 255 if n & 255 < 128 else (n & 255) - 256)).all()


def test_matrices_larger_than_a_buffer_are_kept_in_several(pretended: OpenCL) -> None:
    for backend in (OpenCL(), pretended):
        backend.device.largest = A[:7].nbytes
        with pla.operator(A, backend=backend) as op:
            require_close(op @ X, exact_matvec(A, X), "matvec")
            require_close(op.T @ A[:, 0], exact_matvec(A.T, A[:, 0]), "vecmat")
            assert len(op._account.resident._blocks[A.dtype]) == 10  # type: ignore[attr-defined]


def test_matrices_larger_than_the_memory_are_sent_each_time(pretended: OpenCL) -> None:
    pretended.device.largest, pretended.device.memory = A[:7].nbytes, A[:20].nbytes
    with pla.operator(A, backend=pretended) as op:
        require_close(op @ X, exact_matvec(A, X), "matvec")
        assert op._account.resident._blocks == {}  # type: ignore[attr-defined]


# Arrays of the device


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i8"])
@pytest.mark.parametrize("pieces", [False, True])
def test_vectors_stay_on_the_device(dtype: str, pieces: bool) -> None:
    for backend in (OpenCL(), as_gpu()):
        if pieces:
            backend.device.largest = 7 * 50 * np.dtype(dtype).itemsize
        matrix, x, z = ((3 * one).astype(dtype) for one in (A, X, A[:, 0]))
        with pla.operator(matrix, backend=backend) as op:
            v, w = (pyopencl.array.to_device(backend.device.queue, one) for one in (x, z))
            y = op.matvec(v)
            assert isinstance(y, pyopencl.array.Array)
            require_close(y.get(), exact_matvec(matrix, x), "matvec")
            if not pieces:
                require_close(op.T.matvec(w).get(), exact_matvec(matrix.T, z), "transposed")
                require_close(op.T.matvec(y).get(), exact_matvec(matrix.T, y.get()), "of a result")
            else:
                with pytest.raises(TypeError, match="in several buffers"):
                    op.T.matvec(w)
            longer = pyopencl.array.to_device(backend.device.queue, np.concatenate([x, x]))
            require_close(op.matvec(longer[50:]).get(), exact_matvec(matrix, x), "a part of another")


def test_vectors_that_do_not_fit() -> None:
    backend = OpenCL()
    v = pyopencl.array.to_device(backend.device.queue, X)
    with pla.operator(A, backend=backend) as op:
        with pytest.raises(ValueError, match=r"x has shape \(50,\); the operator has shape \(50, 70\)"):
            op.T.matvec(v)
        with pytest.raises(TypeError, match=r"a product of dtype float64 needs one of NumPy: pass x.get\(\)"):
            op.matvec(pyopencl.array.to_device(backend.device.queue, X.astype(np.float32)))
        context = pyopencl.Context([DEVICES[-1]])
        queue = pyopencl.CommandQueue(context)
        with pytest.raises(ValueError, match="another context"):
            op.matvec(pyopencl.array.to_device(queue, X))
    with pla.operator(A, backend=backend, exact=True) as op, pytest.raises(TypeError, match="exact=True needs"):
        op.matvec(v)
    with pla.operator(A + 1j, backend=backend) as op, pytest.raises(TypeError, match="the conjugate needs"):
        op.H.matvec(pyopencl.array.to_device(backend.device.queue, A[:, 0] + 0j))


# Sums


@FEW
@given(n=st.integers(0, 9000), spread=st.sampled_from([0, 20, 60, 500]), seed=st.integers(0, 999), gpu=st.booleans())
def test_sums_in_and_out_of_the_window(n: int, spread: int, seed: int, gpu: bool) -> None:
    backend = as_gpu() if gpu else OpenCL()
    rng = np.random.default_rng(seed)
    a = np.ldexp(rng.standard_normal(n), rng.integers(-spread, spread + 1, n))
    require_same_bits(pla.psum(a, backend=backend), exact_sum(a).value)
    a[: n // 2] = 0.0
    require_same_bits(pla.psum(a, backend=backend), exact_sum(a).value)


def test_subnormal_numbers_are_not_flushed() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        tiny = np.full(1500, np.finfo(dtype).smallest_subnormal)
        require_same_bits(pla.psum(tiny, backend="opencl"), exact_sum(tiny).value)


# Devices


def test_devices_are_found_by_name_number_and_themselves() -> None:
    first = DEVICES[0]
    for asked in (0, first, first.name.strip()[2:8].upper()):
        assert OpenCL(asked).device.name == first.name.strip()
    context = pyopencl.Context([first])
    queue = pyopencl.CommandQueue(context)
    backend = OpenCL(queue=queue)
    assert backend.device.queue is queue
    require_same_bits(pla.psum(A, backend=backend), pla.psum(A))
    assert len(describe()) == len(DEVICES)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"device": "no such"}, ValueError, "device is 'no such'; there are"),
        ({"device": 99}, ValueError, "device is 99; there are"),
        ({"device": 1.5}, TypeError, "device is 1.5"),
        ({"device": 0, "queue": object()}, ValueError, "both device and queue"),
    ],
)
def test_devices_that_there_are_not(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        OpenCL(**options)


def test_a_device_without_float64(pretended: OpenCL) -> None:
    pretended.device.has_float64 = False
    with pytest.raises(pla.BackendUnavailable, match="has no float64"):
        pla.matvec(A, X, backend=pretended)
    single, x = A.astype(np.float32), X.astype(np.float32)
    require_close(pla.matvec(single, x, backend=pretended), exact_matvec(single, x), "float32")
    require_same_bits(pla.psum(A, backend=pretended), pla.psum(A))
    require_same_bits(pla.matvec(A, X, exact=True, backend=pretended), pla.matvec(A, X, exact=True))


def test_no_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise pyopencl.LogicError("no platform")

    monkeypatch.setattr(pyopencl, "get_platforms", fail)
    with pytest.raises(pla.BackendUnavailable, match="no platform was found .*pip install"):
        OpenCL()
    monkeypatch.setattr(pyopencl, "get_platforms", list)
    with pytest.raises(pla.BackendUnavailable, match=r"the platforms \(none\) have no device"):
        OpenCL()


def test_memory_that_there_is_not(pretended: OpenCL, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended.device.largest = 100
    with pytest.raises(MemoryError, match=r"bytes were asked for on .*; a buffer can have 100"):
        pla.matvec(A, X, backend=pretended)
    monkeypatch.setattr(_device, "host_room", lambda: 10)
    with pytest.raises(MemoryError, match="10 are available"):
        pla.psum(A, backend=OpenCL())


def test_a_kernel_that_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_device.PRODUCTS["float64"], "T", "nonsense")
    with pytest.raises(pla.BackendError, match="a kernel could not be built"):
        pla.matvec(A, X, backend=OpenCL())


def test_options_of_the_environment_do_not_reach_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYOPENCL_BUILD_OPTIONS", "-Dlong=char -cl-fast-relaxed-math")
    require_same_bits(pla.psum(A, backend=OpenCL()), pla.psum(A))
    assert os.environ["PYOPENCL_BUILD_OPTIONS"] == "-Dlong=char -cl-fast-relaxed-math"


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_forked_child_says_that_it_cannot() -> None:
    program = """
    import os
    import parlinalg as pla
    from parlinalg.backends import OpenCL
    backend = OpenCL()
    assert pla.psum([1.0, 2.0], backend=backend) == 3
    child = os.fork()
    if child == 0:
        try:
            pla.psum([1.0], backend=backend)
        except pla.BackendUnavailable:
            os._exit(7)
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), pla.psum([1.0, 2.0], backend=backend))
    """
    done = run(program)
    assert done.stdout == "7 3.0\n", done.stderr


def test_importing_and_listing_touch_no_driver() -> None:
    done = run("import sys, parlinalg; parlinalg.backends(); print('pyopencl' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_buffers_are_freed() -> None:
    before = _resident_size()
    for _ in range(200):
        with pla.operator(np.ones((500, 500)), backend="opencl") as op:
            op @ np.ones(500)
    assert _resident_size() - before < 200e6


def _resident_size() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_the_example_measures() -> None:
    example = Path(__file__).parents[1] / "docs" / "examples" / "opencl_speed.py"
    command = [sys.executable, str(example), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if "x openmp" in line]) >= 4 * (1 + len(DEVICES))
