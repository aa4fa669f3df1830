"""Which OpenCL device is used, and how drivers, queues and forks are treated."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import parlinalg as pla
from opencl_devices import DEVICES, A, X, pyopencl
from parlinalg.backends import OpenCL, _device_choice, _device_tuning
from parlinalg.backends._device_matrix import Kept

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
    assert lines == [f"opencl device {line}" for line in _device_choice.describe()]


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


@pytest.mark.parametrize("ending", ["op.close()", "del op"])
def test_a_forked_child_closes_without_waiting(ending: str) -> None:
    program = f"""
    import os, sys, time
    import numpy as np
    import parlinalg as pla, pyopencl.array
    from parlinalg.backends import OpenCL
    backend = OpenCL()
    op = pla.operator(np.ones((2000, 2000)), backend=backend)
    y = op.matvec(pyopencl.array.to_device(backend.device.queue, np.ones(2000)))
    child = os.fork()
    if child == 0:
        {ending}
        os._exit(7)
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
