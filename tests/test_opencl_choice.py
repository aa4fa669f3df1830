"""Which OpenCL device is used, and how drivers, queues and forks are treated."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import parlinalg as pla
from opencl_devices import DEVICES, A, X, as_gpu, pyopencl
from parlinalg import profiles
from parlinalg.backends import OpenCL, _device_choice, _device_tuning
from parlinalg.backends._device import Settings
from parlinalg.backends._device_matrix import Kept
from parlinalg.testing.checks import require_close, require_same_bits
from parlinalg.testing.oracle import exact_matvec

UNORDERED = pyopencl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE


def test_the_variable_of_pyopencl(monkeypatch: pytest.MonkeyPatch) -> None:
    for device in DEVICES:
        monkeypatch.setenv("PYOPENCL_CTX", device.platform.name)
        assert OpenCL().device.opencl == device
    for wrong in ("no such", "99", "0:99"):
        monkeypatch.setenv("PYOPENCL_CTX", wrong)
        with pytest.raises(ValueError, match=f"PYOPENCL_CTX is '{wrong}': .*there are .*0: "):
            OpenCL()


def test_gpus_come_first_and_of_drivers_for_processors_intels() -> None:
    kinds = pyopencl.device_type

    def device(kind: int, platform: str, memory: int) -> Any:
        return SimpleNamespace(type=kind, platform=SimpleNamespace(name=platform), global_mem_size=memory)

    order = [
        device(kinds.GPU, "NVIDIA CUDA", 80),
        device(kinds.GPU, "Intel(R) OpenCL Graphics", 4),
        device(kinds.ACCELERATOR, "Other", 2),
        device(kinds.CPU, "Intel(R) OpenCL", 10),
        device(kinds.CPU, "Portable Computing Language", 20),
    ]
    assert sorted(order, key=_device_choice._preference, reverse=True) == order


def test_arguments_that_name_no_device() -> None:
    assert OpenCL(np.int64(0)).device.opencl == DEVICES[0]
    with pytest.raises(ValueError, match="device is ''; there are"):
        OpenCL("")
    with pytest.raises(TypeError, match="device is True"):
        OpenCL(True)
    with pytest.raises(TypeError, match=r"queue is 5; it must be a pyopencl\.CommandQueue"):
        OpenCL(queue=5)


def test_a_folder_of_drivers_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCL_ICD_VENDORS", "/nonexistent")
    assert "OCL_ICD_VENDORS is '/nonexistent', which is not there" in str(OpenCL.why_not())


def test_info_shows_the_devices() -> None:
    done = subprocess.run([sys.executable, "-m", "parlinalg", "info"], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("opencl device ")]
    without_memory = [re.sub(r"[\d.]+ GiB", "GiB", line) for line in lines]  # PoCL's depends on what is free
    assert without_memory == [
        re.sub(r"[\d.]+ GiB", "GiB", f"opencl device {line}") for line in _device_choice.describe()
    ]


@pytest.mark.parametrize("index", range(len(DEVICES)))
def test_queues_that_keep_no_order(index: int) -> None:
    context = pyopencl.Context([DEVICES[index]])
    queue = pyopencl.CommandQueue(context, properties=UNORDERED)
    backend = OpenCL(queue=queue)
    matrix = np.random.default_rng(0).standard_normal((800, 800))
    total = pla.psum(matrix)
    with pla.operator(matrix, backend=backend) as op:
        for _ in range(30):
            assert np.allclose(op @ matrix[0], matrix @ matrix[0])
            assert np.allclose(op.matvec(pyopencl.array.to_device(queue, matrix[0])).get(), matrix @ matrix[0])
            assert pla.psum(matrix, backend=backend) == total
    assert np.allclose(pla.matvec(matrix, matrix[:8], backend=backend), matrix[:8] @ matrix.T)


def run(program: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_to_place_a_matrix_waits_for_nothing_that_is_queued() -> None:
    context = pyopencl.Context([DEVICES[0]])
    queue = pyopencl.CommandQueue(context)
    backend = OpenCL(queue=queue)
    backend.device.is_processor = False  # so that it is sent
    comes_later = pyopencl.UserEvent(context)
    pyopencl.enqueue_barrier(queue, wait_for=[comes_later])
    with pla.operator(A, backend=backend) as op:
        comes_later.set_status(pyopencl.command_execution_status.COMPLETE)
        assert np.allclose(op @ X, A @ X)
        assert np.allclose(op.T @ A[:, 0], A.T @ A[:, 0])


@pytest.mark.parametrize("ending", ["op.close()", "del op"])
def test_a_forked_child_closes_without_waiting(ending: str) -> None:
    program = f"""
    import os, sys, time, weakref
    import numpy as np
    import parlinalg as pla, pyopencl.array
    from parlinalg.backends import OpenCL
    backend = OpenCL()
    op = pla.operator(np.ones((2000, 2000)), backend=backend)
    y = op.matvec(pyopencl.array.to_device(backend.device.queue, np.ones(2000)))
    [placed] = map(weakref.ref, op._account.resident._placements.values())
    child = os.fork()
    if child == 0:
        {ending}
        os._exit(7 if placed() else 8)  # to release it could wait for a lock that a thread held at the fork
    for _ in range(100):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
    print(os.waitstatus_to_exitcode(status) if done else "hangs", (y.get() == 2000).all())
    """
    assert run(program) == "7 True\n"


def test_nothing_is_left_for_other_processes() -> None:
    program = """
    import glob, os
    from parlinalg.backends import OpenCL
    folders = set(glob.glob("/tmp/parlinalg-opencl-*"))
    before = os.environ.get("OCL_ICD_VENDORS")
    OpenCL()
    print(os.environ.get("OCL_ICD_VENDORS") == before, set(glob.glob("/tmp/parlinalg-opencl-*")) <= folders)
    """
    assert run(program) == "True True\n"


def _fails(*args: Any, **options: Any) -> Any:
    raise pyopencl.RuntimeError("DEVICE_NOT_AVAILABLE")


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, int]], None]:
    """Keeps settings of the usual device in a profile of this host."""
    path, key = tmp_path / "profile.json", OpenCL().device.key
    monkeypatch.setenv("PARLINALG_PROFILE", str(path))
    return lambda found: profiles.save(replace(profiles.builtin(), devices={key: found}), path)


def test_what_the_tuner_found_is_used(keep: Callable[[dict[str, int]], None]) -> None:
    found = Settings(ranges_per_unit=3, group=16, groups_per_unit=2, rows_side_by_side=4)
    keep(found._asdict())
    for backend in (OpenCL(), as_gpu()):
        assert backend.device.settings == found
        require_close(pla.matvec(A, X, backend=backend), exact_matvec(A, X), "matvec")
        require_close(pla.vecmat(X, A.T, backend=backend), exact_matvec(A, X), "vecmat")


@pytest.mark.parametrize(
    "wrong",
    [
        {"ranges_per_unit": 0},
        {"group": -4},
        {"group": 48},
        {"group": 1 << 20},
        {"group": 8, "rows_side_by_side": 16},
        {"groups_per_unit": 1 << 40},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_be_are_not_used(wrong: dict[str, int], keep: Callable[[dict[str, int]], None]) -> None:
    keep(Settings()._asdict() | wrong)
    device = OpenCL().device
    assert device.settings == Settings.of(device.opencl)


def test_the_tuner_takes_what_is_fastest_and_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_device_tuning, "_seconds", lambda device: 1 / (device.settings.group * device.settings[3]))
    device = as_gpu().device
    device.opencl = SimpleNamespace(max_work_group_size=300, preferred_work_group_size_multiple=64)
    assert Settings.of(device.opencl) == Settings(rows_side_by_side=64)
    assert _device_tuning.tuned(device) == Settings(group=256, rows_side_by_side=64) == device.settings


def test_a_queue_of_a_part_of_a_device() -> None:
    whole = DEVICES[-1]
    if whole.max_compute_units == 1:
        pytest.skip("the device has one unit, and no parts")
    (part, *_) = whole.create_sub_devices([pyopencl.device_partition_property.EQUALLY, 1])  # type: ignore[list-item]
    backend = OpenCL(queue=pyopencl.CommandQueue(pyopencl.Context([part])))
    require_close(pla.matvec(A, X, backend=backend), exact_matvec(A, X), "matvec")
    require_same_bits(pla.psum(A, backend=backend), pla.psum(A))


def test_a_device_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = OpenCL()
    op = pla.operator(A, backend=backend)
    op.matvec(pyopencl.array.to_device(backend.device.queue, X))
    placed = op._account.resident._placements[A.dtype]  # type: ignore[attr-defined]
    assert isinstance(placed, Kept)
    backend.device.queue = SimpleNamespace(finish=_fails)
    op.close()
    monkeypatch.setattr(pyopencl, "Context", _fails)
    with pytest.raises(pla.BackendError, match="failed: DEVICE_NOT_AVAILABLE"):
        OpenCL()
    assert _device_tuning.tuned_devices() == {}
    with pytest.raises(pla.BackendError, match="failed"):
        backend.device.copy_bandwidth()


def test_memory_of_a_device_is_counted_over_all_that_stays_there() -> None:
    backend, other = as_gpu(), as_gpu()
    for one in (backend, other):
        one.device.memory = one.device.largest = int(2.5 * A.nbytes)

    def places(op: pla.Operator) -> bool:
        require_close(op @ X, exact_matvec(A, X), "matvec")
        return isinstance(op._account.resident._placements[A.dtype], Kept)  # type: ignore[attr-defined]

    with pla.operator(A, backend=backend) as first, pla.operator(A, backend=other) as second:
        assert places(first)
        assert places(second)
        assert other.room() == A.nbytes // 2
        with pla.operator(A, backend=backend) as third:
            assert not places(third)
        with pytest.raises(MemoryError, match=f"bytes were asked for .* {A.nbytes // 2} are available"):
            backend.device.empty(A.nbytes)
        second.close()
        with pla.operator(A, backend=backend) as third:
            assert places(third)
    backend.device.memory = backend.device.largest = 100 * A.nbytes
    with pla.operator(A, backend=backend, exact=True) as op:
        require_same_bits(op @ X, exact_matvec(A, X).rounded())
        assert backend.room() == backend.device.memory - 2 * A.nbytes  # for other products, too
    assert backend.room() == backend.device.memory
