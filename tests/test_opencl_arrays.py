"""Calls with arrays that are in the memory of an OpenCL device already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import parlinalg as pla
from opencl_devices import DEVICES, A, X, as_gpu, pyopencl
from parlinalg.backends import OpenCL
from parlinalg.testing.checks import require_close, require_same_bits
from parlinalg.testing.oracle import exact_matvec


@pytest.fixture
def pretended() -> OpenCL:
    return as_gpu()


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
            require_close(op.T.matvec(w).get(), exact_matvec(matrix.T, z), "transposed")
            require_close(op.T.matvec(y).get(), exact_matvec(matrix.T, y.get()), "of a result")
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


def test_a_result_waits_for_what_it_needs(pretended: OpenCL) -> None:
    matrix = np.random.default_rng(1).standard_normal((1500, 1500)) / 40
    for backend in (OpenCL(), pretended):
        with pla.operator(matrix, backend=backend) as op:
            own = pyopencl.CommandQueue(backend.device.context)  # not that of the backend
            v = pyopencl.array.to_device(own, matrix[0])
            for _ in range(20):
                v = op.matvec(v)
            assert v.events
            expected = matrix[0]
            for _ in range(20):
                expected = matrix @ expected
            assert np.allclose(v.get(), expected, rtol=1e-9, atol=1e-12)


def test_an_operator_may_be_closed_while_the_device_computes() -> None:
    backend = OpenCL()
    x = pyopencl.array.to_device(backend.device.queue, np.ones(3000))
    for _ in range(5):
        with pla.operator(np.ones((3000, 3000)), backend=backend) as op:
            y = op.matvec(x)
        assert (y.get() == 3000).all()
        assert (_on_host(pla.matvec(np.ones((3000, 3000)), x)) == 3000).all()


@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "i8"])
def test_one_call_with_arrays_of_the_device(dtype: str) -> None:
    for backend in (OpenCL(), as_gpu()):
        a, x, z = ((3 * one).astype(dtype) for one in (A, X, A[:, 0]))
        b, v, w = (pyopencl.array.to_device(backend.device.queue, one) for one in (a, x, z))
        for matrix, vector in ((b, v), (b, x), (a, v)):
            y = pla.matvec(matrix, vector, backend=backend)
            assert type(y) is type(vector)
            require_close(_on_host(y), exact_matvec(a, x), "matvec")
        for vector, matrix in ((w, b), (z, b), (w, a)) if dtype != "c16" else ((z, b),):
            y = pla.vecmat(vector, matrix, backend=backend)
            assert type(y) is type(vector)
            require_close(_on_host(y), exact_matvec(a.T, z.conj()), "vecmat")
        square = exact_matvec(x[np.newaxis], x.conj())
        for vector in (v, x) if dtype != "c16" else (x,):
            require_close(_on_host(pla.vecdot(vector, v)).reshape(1), square, "vecdot")
        require_same_bits(pla.psum(b, backend=backend), pla.psum(a))
        require_same_bits(pla.psum(b, axis=1), pla.psum(a, axis=1))
        require_same_bits(pla.psum(b[3:, :]), pla.psum(a[3:]))
        with pla.operator(b, backend=backend) as op:
            require_close(op @ x, exact_matvec(a, x), "matvec")
            require_close(op.matvec(v).get(), exact_matvec(a, x), "matvec")
        if dtype != "i8":
            require_same_bits(pla.matvec(b, x, exact=True), pla.matvec(a, x, exact=True))


def _on_host(y: Any) -> Any:
    return y.get() if isinstance(y, pyopencl.array.Array) else y


def test_calls_that_arrays_of_the_device_are_not_for() -> None:
    backend = OpenCL()
    b: Any = pyopencl.array.to_device(backend.device.queue, A)
    v: Any = pyopencl.array.to_device(backend.device.queue, X)
    with pytest.raises(TypeError, match="is given to backend 'openmp'; pass what its get"):
        pla.matvec(b, v, backend="openmp")
    with pytest.raises(TypeError, match="is given to backend 'numpy'"), pla.set_backend("numpy"):
        pla.psum(b)
    with pytest.raises(ValueError, match=r"x has shape \(50,\); A has shape \(50, 70\)"):
        pla.matvec(b.T, v)
    with pytest.raises(ValueError, match="must be one matrix and one vector"):
        pla.matvec(b.reshape(1, 70, 50), v)
    options: dict[str, Any]
    for options in ({"exact": True}, {"dtype": np.complex128}):
        with pytest.raises(TypeError, match="are multiplied as they are"):
            pla.matvec(b, v, **options)
    with pytest.raises(TypeError, match="a conjugate, out or exact=True"):
        pla.vecdot(pyopencl.array.to_device(backend.device.queue, A[0] * 1j), X)
    for options in ({"axis": 0}, {"keepdims": True}, {"initial": 1}, {"out": np.empty(())}):
        with pytest.raises(TypeError, match=r"pass a.get\(\)"):
            pla.psum(b, **options)
    for call in (lambda: pla.matvec(b, v, workers=0), lambda: pla.psum(b, workers=0)):
        with pytest.raises(ValueError, match="workers"):
            call()
    with pytest.raises(TypeError, match="which is not taken here"):
        pla.explain(b, v)
    with pytest.raises(ValueError, match="another context than the backend"):
        pla.matvec(b, v, backend=OpenCL())


def test_out_with_a_vector_of_the_host() -> None:
    backend = OpenCL()
    b: Any = pyopencl.array.to_device(backend.device.queue, A)
    out = np.empty(70)
    assert pla.matvec(b, X, out=out) is out
    require_close(out, exact_matvec(A, X), "matvec")
    assert pla.vecmat(A[:, 0].copy(), b, out=X.copy()).shape == (50,)
    dot = np.empty(())
    assert pla.vecdot(X, pyopencl.array.to_device(backend.device.queue, X), out=dot) is dot
    assert np.isclose(dot, X @ X)
    with pytest.raises(ValueError, match=r"out has shape \(3,\)"):
        pla.matvec(b, X, out=np.empty(3))
    with pytest.raises(TypeError, match="out is a str"):
        pla.matvec(b, X, out="nonsense")  # type: ignore[arg-type]


def test_sums_with_a_dtype() -> None:
    backend = OpenCL()  # whose context some queues do not keep
    a = np.array([2**31 - 1, 5], np.int32)
    b: Any = pyopencl.array.to_device(backend.device.queue, a)
    for dtype in (np.int32, np.int64, np.uint8):
        require_same_bits(pla.psum(b, dtype=dtype), pla.psum(a, dtype=dtype))
    for options in ({"dtype": np.float64}, {"initial": np.zeros(2)}, {"initial": 3}):
        with pytest.raises(TypeError, match=r"pass a.get\(\)"):
            pla.psum(b, **options)


def test_arrays_at_any_address_and_with_any_strides() -> None:
    for backend in (OpenCL(), as_gpu()):
        f: Any = pyopencl.array.to_device(backend.device.queue, np.arange(37, dtype=np.float32))
        b, a = f[1:].view(np.float64), np.arange(37, dtype=np.float32)[1:].view(np.float64)
        assert pla.psum(b) == pla.psum(a.copy())
        with pla.operator(b[:16].reshape(4, 4), backend=backend) as op:
            assert np.allclose(op @ a[:4], a[:16].reshape(4, 4) @ a[:4])
            for v, x in ((b[:4], a[:4]), (b[::2][:4], a[::2][:4]), (b[3::-1], a[3::-1])):
                assert np.allclose(op.matvec(v).get(), a[:16].reshape(4, 4) @ x)
                assert np.array_equal((op @ v).get(), op.matvec(v).get())
