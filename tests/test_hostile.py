"""Calls that a review found to go wrong, each with what it must do."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parlinalg
from parlinalg import _kernels, matvec, operator, psum


def run(program: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_an_operator_refuses_batches_of_matrices() -> None:
    with operator(np.eye(3)) as op:
        with pytest.raises(ValueError, match="the right operand has shape"):
            op @ np.ones((2, 3, 3))
        with pytest.raises(ValueError, match="the left operand has shape"):
            np.ones((2, 3, 3)) @ op


def test_an_operator_of_an_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.eye(2), b=np.eye(2))
    with pytest.raises(ValueError, match="holds several arrays"):
        operator(tmp_path / "two.npz")


def test_batches_of_more_than_32_dimensions() -> None:
    assert matvec(np.ones((1,) * 40 + (2, 3)), np.ones(3)).shape == (1,) * 40 + (2,)


@pytest.mark.parametrize("options", [{}, {"backend": "openmp"}, {"exact": True}])
def test_dot_products_of_64_dimensions_are_refused(options: Any) -> None:
    x = np.ones((1,) * 63 + (2,))
    with pytest.raises(ValueError, match="vecdot: y has 64 dimensions; at most 63"):
        parlinalg.vecdot(x, x, **options)
    assert parlinalg.vecdot(x[0], x[0], **options).shape == (1,) * 62


@pytest.mark.parametrize("backend", ["numpy", "openmp"])
def test_out_may_be_a_matrix(backend: str) -> None:
    out = np.zeros((5000, 1)).view(np.matrix)
    assert psum(np.ones((5000, 2)), axis=1, keepdims=True, out=out, backend=backend) is out
    assert (np.asarray(out) == 2).all()


def test_integers_are_cast_to_a_float_out_first_as_in_numpy() -> None:
    out = np.zeros(())
    big = np.array([2**62, 2**62])
    assert psum(big, out=out) == np.sum(big, out=np.zeros(()))
    assert psum(np.ones(1, np.int64), initial=0.5, out=out) == 1.5
    assert psum(np.ones(1, np.float32), initial=0.1, out=out) == 1.1


@pytest.mark.parametrize("initial", [np.nan, np.inf, 1e300, 2**63, 2**70])
def test_initial_must_fit_an_integer_sum(initial: Any) -> None:
    with pytest.raises(ValueError, match=r"psum: initial is .*; a sum of .*int64 can hold"):
        psum([1, 2], initial=initial)


def test_errors_name_the_argument() -> None:
    with pytest.raises(TypeError, match="psum: where is a masked array"):
        psum([1.0, 2.0], where=np.ma.array([True, True], mask=[False, True]))
    with pytest.raises(TypeError, match="psum: dtype is 'foo'"):
        psum([1.0], dtype="foo")
    with pytest.raises(TypeError, match="psum: axis is"):
        psum([1.0], axis=np.array([0, 1]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="workers is 1000000000"):
        parlinalg.set_backend("auto", workers=10**9)
    assert psum([1.0]) == 1.0


def test_threads_with_small_stacks() -> None:
    results: list[float] = []

    def work() -> None:
        results.append(psum(np.ones((300, 300), ">f4")))
        results.append(matvec(np.asfortranarray(np.ones((300, 300), complex)), np.ones(300))[0])

    before = threading.stack_size(128 << 10)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert results == [90000, 300]


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="sets MXCSR by Linux's libm")
def test_flush_to_zero_of_the_caller_changes_no_bit_and_stays() -> None:
    """The floating-point environment that a -ffast-math library leaves behind."""
    libm = ctypes.CDLL("libm.so.6")
    saved, after = (ctypes.c_byte * 32)(), (ctypes.c_byte * 32)()
    libm.fegetenv(saved)
    flushing = (ctypes.c_byte * 32).from_buffer_copy(saved)
    ctypes.c_uint32.from_buffer(flushing, 28).value |= 0x8040  # the last word of fenv_t
    for tiny in (np.full(40000, 1e-42, np.float32), np.full(4000, 1e-7, np.float16)):
        expected = [psum(tiny, out=np.zeros(()), workers=workers)[()] for workers in (1, 2)]
        libm.fesetenv(flushing)
        try:
            found = [psum(tiny, out=np.zeros(()), workers=workers)[()] for workers in (1, 2)]
            libm.fegetenv(after)
        finally:
            libm.fesetenv(saved)
        assert found == expected
        assert expected[0] == expected[1] > 0
        assert ctypes.c_uint32.from_buffer(after, 28).value & 0x8040 == 0x8040


@pytest.mark.skipif(not _kernels.openmp_version(), reason="parlinalg was built without OpenMP")
def test_fork_after_a_region_of_another_user_of_libgomp() -> None:
    program = """
        import ctypes, os, numpy as np, parlinalg
        gomp = ctypes.CDLL("libgomp.so.1")
        work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda data: None)
        gomp.GOMP_parallel(work, None, 2, 0)
        child = os.fork()
        if child == 0:
            os._exit(0 if parlinalg.psum(np.ones(1000), workers=2) == 1000 else 1)
        print(os.waitpid(child, 0)[1])
    """
    assert run(program) == "0"


def test_rows_of_mixed_dtypes_that_are_longer_than_a_block() -> None:
    A = np.random.default_rng(4).integers(-9, 9, (2, 300_001)).astype(np.float32)  # cast, 2.4 MB a row
    x = np.arange(300_001.0) % 7
    for backend in ("numpy", "openmp"):
        assert (matvec(A, x, backend=backend) == np.matvec(A.astype(float), x)).all()
