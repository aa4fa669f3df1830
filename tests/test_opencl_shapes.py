"""Products whose shapes OpenCL devices take in other ways: batches, several vectors, a few long rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import parlinalg as pla
from opencl_devices import DEVICES, as_gpu, pyopencl
from parlinalg.backends import OpenCL
from parlinalg.backends._device_products import SHORTEST, Block
from parlinalg.testing.checks import require_close
from parlinalg.testing.oracle import exact_matvec

BACKENDS = {False: OpenCL(DEVICES[-1]), True: as_gpu()}
DTYPES = ("f8", "f4", "f2", "c16", "i4", "u1", "i8", "?")


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    drawn = rng.integers(0 if dtype in "u1?" else -3, 4, shape)
    return (drawn + 1j * drawn[..., ::-1] if dtype[0] == "c" else drawn).astype(dtype)


def product_of_integers(A: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rounded once, or modulo the largest integer."""
    if A.dtype.kind in "biu":
        return np.asarray(A @ x)
    exact = A.astype(complex) @ x
    return np.asarray((exact if A.dtype.kind == "c" else exact.real).astype(A.dtype))


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_few_long_rows(dtype: str, gpu: bool) -> None:
    rng = np.random.default_rng(0)
    backend = BACKENDS[gpu]
    n = 2 * SHORTEST + 77
    whole = numbers(rng, (3, 2 * n), dtype)
    x = numbers(rng, (n,), dtype)
    for A in (whole[:, :n], whole[:, ::2], whole[::-1, n - 1 :: -1], np.asfortranarray(whole[:, :n])):
        with np.errstate(all="ignore"):
            require_close(pla.matvec(A, x, backend=backend), exact_matvec(A, x))
            require_close(pla.matvec(A[:1], x, backend=backend), exact_matvec(A[:1], x))
    with np.errstate(all="ignore"), pla.operator(whole[:, :n], backend=backend) as op:
        for _ in range(2):
            require_close(op @ x, exact_matvec(whole[:, :n], x))
            vector = pyopencl.array.to_device(backend.device.queue, x)
            require_close(op.matvec(vector).get(), exact_matvec(whole[:, :n], x))
    batch = np.stack([whole[:, :n], whole[::-1, n:]])  # of which each has shares
    with np.errstate(all="ignore"):
        for found, A in zip(pla.matvec(batch, x, backend=backend), batch, strict=True):
            require_close(found, exact_matvec(A, x))
    swapped = whole[:, :n].T  # long columns
    with np.errstate(all="ignore"):
        require_close(pla.vecmat(x, swapped, backend=backend), exact_matvec(swapped.T, x.conj()))


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, "c8"])
@pytest.mark.parametrize(("m", "n"), [(64, 48), (16, 1 << 13), (1 << 13, 16), (208, 208)])
def test_loads_of_several_elements(m: int, n: int, dtype: str, gpu: bool) -> None:
    rng = np.random.default_rng(3)
    whole, x = numbers(rng, (m + 16, n + 16), dtype), numbers(rng, (n,), dtype)
    batch = numbers(rng, (3, m, n), dtype)
    for A in (whole[:m, :n], whole[1 : m + 1, 1 : n + 1], whole[16:, 16:], whole[:m, : n - 1], batch[0], batch[0][:-1]):
        for B in (A, np.asfortranarray(A)):
            with np.errstate(all="ignore"), pla.operator(B, backend=BACKENDS[gpu]) as op:
                v, w = x[: B.shape[1]], numbers(rng, (B.shape[0],), dtype)
                assert (op @ v == product_of_integers(B, v)).all()
                assert (op.rmatvec(w) == product_of_integers(B.conj().T, w)).all()
    with np.errstate(all="ignore"):
        for found, A in zip(pla.matvec(batch, x, backend=BACKENDS[gpu]), batch, strict=True):
            assert (found == product_of_integers(A, x)).all()


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 4, 17])
def test_matrices_of_vectors(columns: int, dtype: str, gpu: bool) -> None:
    rng = np.random.default_rng(1)
    A, X = numbers(rng, (33, 45), dtype), numbers(rng, (45, columns), dtype)
    with np.errstate(all="ignore"), pla.operator(A, backend=BACKENDS[gpu]) as op:
        found = op @ X
        back = op.rmatmat(found)
        for column in range(columns):
            require_close(found[:, column], exact_matvec(A, X[:, column]))
            require_close(back[:, column], exact_matvec(A.conj().T, found[:, column]))
        assert (op @ X[:, 0] == found[:, 0]).all()  # one vector after many


@pytest.mark.parametrize("gpu", [False, True])
def test_a_batch_is_one_launch_unless_a_buffer_cannot_hold_it(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    launches: list[Any] = []
    launch = Block.launch

    def note(self: Block, *arguments: Any, **options: Any) -> Any:
        launches.append(arguments)
        return launch(self, *arguments, **options)

    monkeypatch.setattr(Block, "launch", note)
    rng = np.random.default_rng(2)
    A, x = rng.standard_normal((2, 30, 5, 7)), rng.standard_normal((30, 7))
    backend = BACKENDS[gpu]
    for matrices, vectors in ((A, x), (A[0], x[0]), (A[0, 0], x), (A[:, ::-2], x[::2]), (A[:, :1], x)):
        del launches[:]
        found = pla.matvec(matrices, vectors, backend=backend)
        assert np.allclose(found, np.matvec(matrices, vectors), rtol=1e-12)
        assert len(launches) == 1
    small = OpenCL(queue=backend.device.queue)
    small.device.is_processor = not gpu
    small.device.largest = 8 * 7 * 20
    with pla.operator(A[0, 0], backend=small) as op:
        del launches[:]
        assert np.allclose(op @ x.T, A[0, 0] @ x.T, rtol=1e-12)
        assert len(launches) == 2


@pytest.mark.parametrize("dtype", ["f8", "c16", "f4", "i1"])
@pytest.mark.parametrize("gpu", [False, True])
def test_vectors_that_begin_anywhere(dtype: str, gpu: bool) -> None:
    rng = np.random.default_rng(3)
    A, memory = numbers(rng, (9, 300), dtype), numbers(rng, (600,), dtype)
    for first in range(20):
        x = memory[first : first + 300]
        require_close(pla.matvec(A, x, backend=BACKENDS[gpu]), exact_matvec(A, x))
