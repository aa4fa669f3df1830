"""Sums and exact products of the opencl backend: queues, pieces, and where numbers lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import parlinalg as pla
from opencl_devices import DEVICES, A, X, as_gpu, pyopencl
from parlinalg.backends import OpenCL, _device_exact, _device_sums
from parlinalg.backends._device import build_without_user_options
from parlinalg.testing.checks import require_same_bits

SLOW = """
__kernel void slow(__global double *a, const long n, const double v)
{
    double s = v;
    for (long k = 0; k < 30000000; k++)
        s = s * 0.999999999 + 1e-9 * v;
    for (long i = 0; i < n; i++)
        a[i] = v + (s > 1e300);
}
"""
BACKENDS = {False: OpenCL(), True: as_gpu()}  # by whether the kernels are those of GPUs; built once
DTYPES = ["f8", "f4", "f2", "c16", "c8", "i8", "i1", "u2", "?"]


def there(backend: OpenCL, a: Any) -> Any:
    return pyopencl.array.to_device(backend.device.queue, a)


def shrink(monkeypatch: pytest.MonkeyPatch, backend: OpenCL, largest: int, a: Any) -> None:
    """Let the device have little memory, once the kernels for `a` have been tried."""
    row = a.reshape(-1)[:9]
    pla.psum(row, backend=backend)
    pla.vecdot(row, row, exact=True, backend=backend)
    monkeypatch.setattr(backend.device, "largest", largest)
    monkeypatch.setattr(backend.device, "memory", 6 * largest)


# Queues


@pytest.mark.parametrize("device", range(len(DEVICES)))
def test_queues_that_take_no_order(device: int) -> None:
    out_of_order = pyopencl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE
    context = pyopencl.Context([DEVICES[device]])
    queue = pyopencl.CommandQueue(context, properties=out_of_order)
    backend = OpenCL(queue=queue)
    rng = np.random.default_rng(0)
    for a in (rng.standard_normal(300_000), rng.integers(-9, 9, 300_000), rng.standard_normal((9, 9000)) * 1j):
        expected = pla.psum(a)
        for _ in range(15):
            require_same_bits(pla.psum(a, backend=backend), expected)
            require_same_bits(pla.psum(there(backend, a)), expected)


@pytest.mark.parametrize("device", range(len(DEVICES)))
def test_sums_wait_for_events_of_other_queues(device: int) -> None:
    backend = OpenCL(device)
    context = backend.device.context
    other = pyopencl.CommandQueue(context)
    slow = build_without_user_options(pyopencl.Program(context, SLOW)).slow
    a = there(backend, np.zeros(1000))
    a.add_event(slow(other, (1,), None, a.data, np.int64(1000), np.float64(3)))
    other.flush()
    assert pla.psum(a) == 3000


# Where numbers lie


@pytest.mark.parametrize("gpu", [False, True])
def test_arrays_that_begin_between_elements(gpu: bool) -> None:
    backend = BACKENDS[gpu]
    singles = np.random.default_rng(0).standard_normal(4097).astype(np.float32)
    for dtype in (np.float64, np.int64, np.complex128, np.complex64):
        expected = pla.psum(singles[1:].view(dtype).copy())
        with np.errstate(all="ignore"):
            require_same_bits(pla.psum(there(backend, singles)[1:].view(dtype)), expected)
            require_same_bits(pla.psum(singles[1:].view(dtype), backend=backend), expected)
    matrix = there(backend, singles)[1:].view(np.float64).reshape(32, 64)
    expected = pla.matvec(matrix.get(), X[0] + np.arange(64), exact=True)
    require_same_bits(pla.matvec(matrix, X[0] + np.arange(64), exact=True), expected)


def test_bytes_that_begin_anywhere_in_memory() -> None:
    room = np.zeros(8 * 1000 + 1, np.uint8)
    for dtype in ("f8", "i8", "f4", "c16"):
        a = room[1:].view(dtype)
        assert not a.flags.aligned
        a[...] = np.arange(a.size)
        require_same_bits(pla.psum(a, backend="opencl"), pla.psum(a))
        a[...] = 0


@pytest.mark.parametrize("gpu", [False, True])
def test_bool_counts_whatever_its_bytes_are(gpu: bool) -> None:
    backend = BACKENDS[gpu]
    a = np.arange(12, dtype=np.uint8).view(bool)
    assert pla.psum(a, backend=backend) == 11
    assert pla.psum(there(backend, a)) == 11


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_views(dtype: str, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_device_sums, "COPIED_AT_A_TIME", 1000)
    backend = BACKENDS[gpu]
    a = (A * 9).astype(dtype)
    views = (a, a.T, a[::-1, ::2], a[:, :7].T[::-1], np.broadcast_to(a[0], (9, 50)), np.broadcast_to(a[0, 0], 5000))
    for view in (*views, a.astype(a.dtype.newbyteorder()), a[:0], a[0, 0]):
        for axis in (None, *range(view.ndim)):
            require_same_bits(pla.psum(view, axis=axis, backend=backend), pla.psum(view, axis=axis))


def test_a_repeated_number_is_not_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    require = np.require

    def note(a: Any, *how: Any) -> Any:
        sizes.append(a.nbytes)
        return require(a, *how)

    monkeypatch.setattr(np, "require", note)
    assert pla.psum(np.broadcast_to(1.5, (5 * 10**6,)), backend=OpenCL()) == 7.5e6
    assert len(sizes) == 3
    assert max(sizes) <= _device_sums.COPIED_AT_A_TIME


# Pieces


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_what_no_buffer_can_hold(dtype: str, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = BACKENDS[gpu]
    a = (np.random.default_rng(0).standard_normal((7, 4000)) * 9).astype(dtype)
    on_device = there(backend, a)
    shrink(monkeypatch, backend, 6000, a)
    for axis in (None, 1):
        require_same_bits(pla.psum(a, axis=axis, backend=backend), pla.psum(a, axis=axis))
        require_same_bits(pla.psum(on_device, axis=axis, backend=backend), pla.psum(a, axis=axis))
    require_same_bits(pla.psum(a.T, axis=0, backend=backend), pla.psum(a, axis=1))


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "c8"])
def test_exact_products_of_what_no_buffer_can_hold(dtype: str, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    a = (np.random.default_rng(0).standard_normal((7, 2000)) * 9).astype(dtype)
    if a.dtype.kind == "c":
        a += 1j * a[::-1, ::-1]
    backend = BACKENDS[gpu]
    on_device = there(backend, a)
    shrink(monkeypatch, backend, 6000, a)
    x, z = a[1].copy(), a[:, 3].copy()
    require_same_bits(pla.vecdot(a, x, exact=True, backend=backend), pla.vecdot(a, x, exact=True))
    for matrix in (a, on_device):
        require_same_bits(pla.matvec(matrix, x, exact=True, backend=backend), pla.matvec(a, x, exact=True))
        require_same_bits(pla.vecmat(z, matrix, exact=True, backend=backend), pla.vecmat(z, a, exact=True))


def test_no_state_adds_more_than_it_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_device_sums, "MOST_ELEMENTS", 64)
    backend = BACKENDS[False]
    require_same_bits(pla.psum(there(backend, A), axis=1, backend=backend), pla.psum(A, axis=1))
    require_same_bits(pla.psum(there(backend, A), backend=backend), pla.psum(A))


# Operators of exact products


@pytest.mark.parametrize("gpu", [False, True])
def test_an_exact_operator_sends_its_matrix_once(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    send = _device_sums.sent

    def note(*args: Any) -> Any:
        sent.append(args)
        return send(*args)

    monkeypatch.setattr(_device_exact, "sent", note)
    with pla.operator(A, backend=BACKENDS[gpu], exact=True) as op:
        for _ in range(3):
            require_same_bits(op @ X, pla.matvec(A, X, exact=True))
        assert len(sent) == 1
        for dtype in ("f4", "c16"):
            for _ in range(3):
                x = X.astype(dtype)
                require_same_bits(op @ x, pla.matvec(A, x, exact=True))
                z = A[:, 0].astype(dtype)
                require_same_bits(op.rmatvec(z), pla.matvec(A.T, z, exact=True))


def test_exact_products_of_batches() -> None:
    matrices, vectors = np.stack([A, 2 * A, A - 1]), np.stack([X, -X, X])
    for backend in BACKENDS.values():
        for a, x in ((matrices, X), (A, vectors), (matrices, vectors), (matrices[:1], vectors)):
            require_same_bits(pla.matvec(a, x, exact=True, backend=backend), pla.matvec(a, x, exact=True))


def test_an_exact_operator_of_an_array_that_is_there() -> None:
    for backend in BACKENDS.values():
        for a in (A, A.astype(np.float32), A * (1 + 2j), A.T):
            x, z = a[0].copy(), a[:, 0].copy()
            with pla.operator(there(backend, a), backend=backend, exact=True) as op:
                for _ in range(3):
                    require_same_bits(op @ x, pla.matvec(a, x, exact=True))
                    require_same_bits(op.T @ z, pla.matvec(a.T, z, exact=True))


def test_an_exact_operator_without_room_sends_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = BACKENDS[True]
    shrink(monkeypatch, pretended, 3000, A)
    with pla.operator(A, backend=pretended, exact=True) as op:
        for _ in range(2):
            require_same_bits(op @ X, pla.matvec(A, X, exact=True))
        assert not op._account.resident._exact._kept  # type: ignore[attr-defined]


# Groups


@pytest.mark.parametrize("most", [1, 3, 24, 1024])
def test_groups_are_no_larger_than_the_device_takes(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = BACKENDS[True]

    class Kernel:
        def get_work_group_info(self, info: int, device: Any) -> int:
            return most if info == pyopencl.kernel_work_group_info.WORK_GROUP_SIZE else 32

    group, (local,) = _device_sums._group(pretended.device, Kernel(), 16)
    assert group == {1: 1, 3: 2, 24: 16, 1024: 128}[most]
    assert local.size == 8 * 16 * group
    monkeypatch.setattr(_device_sums, "GROUP", group)
    require_same_bits(pla.psum(A, backend=pretended), pla.psum(A))
    integers = np.arange(100_003) - 7
    assert pla.psum(integers, backend=pretended) == integers.sum()
    assert (
        pla.psum(integers[:99].reshape(33, 3), axis=1, backend=pretended) == integers[:99].reshape(33, 3).sum(1)
    ).all()
