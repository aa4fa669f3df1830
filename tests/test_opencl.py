"""The opencl backend: every device that is here, the kernels of others, and what devices cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parlinalg as pla
from opencl_devices import DEVICES, A, Pretended, X, as_gpu, pyopencl
from parlinalg.backends import OpenCL, _device, _vendors
from parlinalg.backends._device import Device
from parlinalg.backends._device_choice import describe, find
from parlinalg.backends._device_matrix import Sent
from parlinalg.testing import BackendSuite
from parlinalg.testing.base import ALLOWED
from parlinalg.testing.checks import require_close, require_same_bits
from parlinalg.testing.oracle import exact_matvec, exact_sum
from parlinalg.testing.strategies import LAYOUTS, PRODUCT_DTYPES, fill, lay_out, normal

DEFAULT = DEVICES.index(find(None))
FEW = settings(max_examples=6, deadline=None, suppress_health_check=ALLOWED)


def suite(name: str, backend: OpenCL) -> type[BackendSuite]:
    """The kit on one device."""
    made = type(name, (BackendSuite,), {"backend": backend})
    for one in (one for one in dir(made) if hasattr(getattr(made, one), "arguments")):
        test = getattr(made, one)
        setattr(made, one, FEW(given(**test.arguments)(test.hypothesis.inner_test)))
    return made


# The default device has a suite among those of all backends.
globals().update({f"TestDevice{i}": suite(f"TestDevice{i}", OpenCL(i)) for i in range(len(DEVICES)) if i != DEFAULT})


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
            assert len(op._account.resident._placements[A.dtype].blocks) == 10  # type: ignore[attr-defined]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "c16", "i4", "?"])
def test_matrices_larger_than_the_memory_are_sent_each_time(pretended: OpenCL, dtype: str, layout: str) -> None:
    matrix = lay_out((4 * A).astype(dtype), layout)
    x, z = (4 * X).astype(dtype), (4 * A[:, 0]).astype(dtype)
    pretended.device.largest, pretended.device.memory = 7 * 50 * x.itemsize, matrix.nbytes - 1
    with pla.operator(matrix, backend=pretended) as op:
        for _ in range(3):
            require_close(op @ x, exact_matvec(matrix, x), "matvec")
        require_close(op.T @ z, exact_matvec(matrix.T, z), "vecmat")
        placed = op._account.resident._placements[matrix.dtype.newbyteorder("=")]  # type: ignore[attr-defined]
        assert isinstance(placed, Sent)
        assert len(placed.rows) >= 10 or dtype == "?"
        with pytest.raises(TypeError, match="does not fit into the device's memory"):
            op.matvec(pyopencl.array.to_device(pretended.device.queue, x))


def test_threads_that_send_the_same_matrix(pretended: OpenCL) -> None:
    pretended.device.largest, pretended.device.memory = A[:7].nbytes, A.nbytes - 1
    with pla.operator(A, backend=pretended) as op, ThreadPoolExecutor(4) as pool:
        vectors = [np.full(50, float(i)) for i in range(40)]
        for x, y in zip(vectors, pool.map(op.matvec, vectors), strict=True):
            require_close(y, exact_matvec(A, x), "matvec")


def test_vectors_at_addresses_that_are_no_multiple_of_the_itemsize() -> None:
    raw = np.zeros(16 * 50 + 64, np.uint8)
    start = 8 - raw.ctypes.data % 16 + 16
    x = raw[start : start + 16 * 50].view(np.complex128)
    x[:] = X
    for device in DEVICES:
        require_close(pla.matvec(A + 1j, x, backend=OpenCL(device)), exact_matvec(A + 1j, x), "matvec")


def test_bool_whose_bytes_are_not_one(pretended: OpenCL) -> None:
    two = np.full((3, 4), 2, np.uint8).view(np.bool_)
    for backend in (OpenCL(), pretended):
        assert pla.matvec(two, np.ones(4, bool), backend=backend).all()
        assert pla.matvec(two, np.full(4, 4, np.uint8).view(np.bool_), backend=backend).all()


def test_batches_in_pairs_have_an_exponent_each() -> None:
    for backend in (emulating(False), emulating(True)):
        scales = np.array([2.0**300, 1.0, 2.0**-300])
        for vectors in (scales[:, np.newaxis] * X, np.broadcast_to(X, (3, 50)), np.asfortranarray([X, 2 * X, 3 * X])):
            assert np.allclose(pla.matvec(A, vectors, backend=backend), np.matvec(A, vectors), rtol=1e-11, atol=0)
        matrices = scales[:, np.newaxis, np.newaxis] * A
        assert np.allclose(pla.matvec(matrices, X, backend=backend), np.matvec(matrices, X), rtol=1e-11, atol=0)


def test_the_matrix_may_change_once_it_is_on_a_device_with_memory_of_its_own(pretended: OpenCL) -> None:
    matrix = A.copy()
    with pla.operator(matrix, backend=pretended) as op:
        matrix[:] = 0
        require_close(op @ X, exact_matvec(A, X), "matvec")


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


EMULATION = 2.0**-44  # the documented error of a product, in units of (|A| @ |x|) and of n


@FEW
@given(
    m=st.integers(1, 70),
    n=st.integers(1, 300),
    layout=st.sampled_from(sorted(LAYOUTS)),
    exponent=st.sampled_from([0, 300, -300]),
    spread=st.sampled_from([0, 20]),
    seed=st.integers(0, 999),
)
def test_float64_in_pairs(m: int, n: int, layout: str, exponent: int, spread: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, x, z = (
        np.ldexp(rng.standard_normal(shape), rng.integers(-spread, spread + 1, shape)) for shape in ((m, n), n, m)
    )
    matrix = lay_out(np.ldexp(matrix, exponent), layout)
    for gpu in (False, True):
        backend = emulating(gpu)
        with pla.operator(matrix, backend=backend) as op:
            for product, a, v in ((op @ x, matrix, x), (op.T @ z, matrix.T, z)):
                bound = len(v) * EMULATION * (np.abs(a) @ np.abs(v))
                assert (np.abs(product - pla.matvec(a, v, exact=True)) <= bound).all()


def emulating(gpu: bool) -> OpenCL:
    backend = OpenCL(float64="emulate")
    backend.device = Pretended() if gpu else Device(find(None))
    backend.device.has_float64, backend.emulates = False, True
    return backend


def test_float64_in_pairs_that_are_not_finite() -> None:
    backend = emulating(False)
    matrix = np.array([[np.inf, 1.0], [np.nan, 1.0], [-np.inf, np.inf], [2.0**1000, 1e-300], [0.0, -0.0]])
    y = pla.matvec(matrix, [1.0, 1.0], backend=backend)
    assert np.array_equal(y, [np.inf, np.nan, np.nan, 2.0**1000, 0.0], equal_nan=True)
    assert pla.matvec([[1e300]], [1e300], backend=backend) == np.inf
    backend.device.largest, backend.device.memory = A[:7].nbytes, A.nbytes - 1
    backend.device.is_processor = False
    with pla.operator(A, backend=backend) as op:
        assert np.allclose(op @ X, A @ X, rtol=1e-12, atol=1e-12)
        with pytest.raises(TypeError, match="pass x.get"):
            op.matvec(pyopencl.array.to_device(backend.device.queue, X))
    with pytest.raises(ValueError, match="float64 is 'single'; it must be 'native' or 'emulate'"):
        OpenCL(float64="single")
    assert not OpenCL(float64="emulate").emulates  # this device has it


def test_a_device_without_float64(pretended: OpenCL) -> None:
    pretended.device.has_float64 = False
    with pytest.raises(pla.BackendUnavailable, match="has no float64.*emulate"):
        pla.matvec(A, X, backend=pretended)
    with pytest.raises(pla.BackendUnavailable, match="has no float64.*exact=True"):
        pla.matvec(A + 1j, X, backend=pretended)
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


def test_drivers_that_are_registered_but_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vendors").mkdir()
    monkeypatch.setattr(_vendors, "_library", lambda: None)
    monkeypatch.setattr(_vendors, "_places", lambda: [tmp_path / "vendors"])
    assert "no driver of OpenCL is registered in" in str(OpenCL.why_not())
    (tmp_path / "vendors" / "lost.icd").write_text("/nowhere/libnothing.so\n")
    assert "lost.icd names /nowhere/libnothing.so, which is not there. Install a driver" in str(OpenCL.why_not())
    (tmp_path / "vendors" / "other.icd").write_text("libknown.so")
    (tmp_path / "cache").write_bytes(b"libother.so")
    monkeypatch.setattr(_vendors, "CACHE", tmp_path / "cache")
    assert "other.icd names libknown.so" in str(OpenCL.why_not())
    (tmp_path / "vendors" / "libknown.so").touch()
    assert OpenCL.why_not() is None


def test_several_devices_at_once() -> None:
    backends = [OpenCL(device) for device in DEVICES]
    try:
        parts = DEVICES[-1].create_sub_devices([pyopencl.device_partition_property.EQUALLY, 1])  # type: ignore[list-item]
    except pyopencl.Error:  # a device of one unit has no parts
        parts = []
    backends += [OpenCL(part) for part in parts]
    operators = [pla.operator(A, backend=backend) for backend in backends]
    with ThreadPoolExecutor(len(backends)) as pool:
        for _ in range(20):
            for y in pool.map(lambda op: op @ X, operators):
                require_close(y, exact_matvec(A, X), "matvec")
            for total in pool.map(lambda backend: pla.psum(A, backend=backend), backends):
                require_same_bits(total, pla.psum(A))
    for op in operators:
        op.close()


def test_the_largest_buffer_of_a_processor_can_begin_before_its_array() -> None:
    for one in DEVICES:
        device = OpenCL(one).device
        before = _device.ALIGNMENT if device.is_processor else 0
        assert device.largest + before == one.max_mem_alloc_size


def test_memory_that_there_is_not(pretended: OpenCL, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended.device.largest = 100
    with pytest.raises(MemoryError, match=r"bytes were asked for on .*; a buffer can have 100"):
        pla.matvec(A, X, backend=pretended)
    monkeypatch.setattr(_device, "host_room", lambda: 10)
    for processor in (one for one in DEVICES if one.type & pyopencl.device_type.CPU):
        with pytest.raises(MemoryError, match="10 are available"):
            pla.psum(np.ones(1 << 20), axis=(), backend=OpenCL(processor))


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
        refused = 0
        for asked in (backend, "opencl"):  # also one that would be made in the child
            try:
                pla.psum([1.0], backend=asked)
            except pla.BackendUnavailable:
                refused += 1
        os._exit(7 if refused == 2 else 1)
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
    example = Path(__file__).parents[1] / "docs" / "measurements" / "opencl.py"
    command = [sys.executable, str(example), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if "x openmp" in line]) >= 4 * (1 + len(DEVICES))
