"""No temporary the size of A anywhere: compared are bytes, as NumPy and the operating system count them."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from parlinalg import matvec, operator, psum
from parlinalg.testing.strategies import lay_out

BYTES = 1 << 25  # of A: 32 MiB
ALLOWED = BYTES // 4
BACKENDS = ("numpy", "openmp")


def matrix(dtype: str = "f8", layout: str = "C", m: int = 2048) -> np.ndarray:
    n = BYTES // np.dtype(dtype).itemsize // m
    return lay_out(np.ones((m, n), dtype), layout)


CASES: dict[str, Callable[[], tuple[np.ndarray, dict[str, Any]]]] = {
    "plain": lambda: (matrix(), {}),
    "Fortran": lambda: (matrix(layout="Fortran"), {}),
    "sliced": lambda: (matrix(layout="sliced"), {}),
    "flipped": lambda: (matrix(layout="flipped"), {}),
    "unaligned": lambda: (matrix(layout="unaligned"), {}),
    "byte-swapped": lambda: (matrix(layout="byte-swapped"), {}),
    "read-only": lambda: (matrix(layout="read-only"), {}),
    "float16": lambda: (matrix("f2"), {}),
    "float32 and float64": lambda: (matrix("f4"), {}),
    "int8 and float64": lambda: (matrix("i1"), {}),
    "bool and float64": lambda: (matrix("?"), {}),
    "complex": lambda: (matrix("c16"), {}),
    "one row": lambda: (matrix(m=1), {}),
    "one row, mixed": lambda: (matrix("f4", m=1), {}),
    "one row, byte-swapped": lambda: (matrix(layout="byte-swapped", m=1), {}),
    "two rows, unaligned": lambda: (matrix(layout="unaligned", m=2), {}),
    "tall, mixed": lambda: (matrix("f4", m=BYTES // 16), {}),
    "dtype": lambda: (matrix(), {"dtype": np.float32}),
    "zero strides": lambda: (np.broadcast_to(np.ones(1), (2048, 2048)), {}),
    "zero strides, mixed": lambda: (np.broadcast_to(np.ones(1, "f4"), (2048, 2048)), {}),
}


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def peak(call: Callable[[], Any]) -> int:
    """Bytes that were allocated at once, at most, while `call` ran, beyond those before it."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    call()
    return tracemalloc.get_traced_memory()[1] - before


def test_numpy_reports_its_allocations(traced: None) -> None:
    assert peak(lambda: np.ones(BYTES, np.uint8)) >= BYTES


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_matvec_copies_no_matrix(traced: None, name: str, case: str) -> None:
    A, options = CASES[case]()
    n = A.shape[1]
    x = np.ones(n, np.float16 if A.dtype == np.float16 else np.float64)
    y = np.zeros(A.shape[0], options.get("dtype", np.result_type(A.dtype, x.dtype)))
    vectors = 4 * (n + A.shape[0]) * 8 if min(A.shape) > 100 else n * 8  # x itself may be cast
    allowed = ALLOWED + (vectors if A.shape[0] > 1 else 0)
    assert peak(lambda: matvec(A, x, out=y, backend=name, **options)) < allowed


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("case", [case for case in CASES if "dtype" not in case])
def test_operator_copies_no_matrix(traced: None, name: str, case: str) -> None:
    A, _ = CASES[case]()
    x = np.ones(A.shape[1], np.float16 if A.dtype == np.float16 else np.float64)

    def calls() -> None:
        with operator(A, backend=name) as op:
            op.matvec(x)

    assert peak(calls) < ALLOWED + A.shape[0] * 16  # the result


SUMS: dict[str, dict[str, Any]] = {
    "all": {},
    "rows": {"axis": 0},
    "columns": {"axis": 1},
    "dtype": {"dtype": np.float32},
    "complex dtype": {"dtype": np.complex128},
    "where": {"where": np.broadcast_to(True, (1,)) & np.True_},
    "where of rows": {"axis": 1, "where": np.ones((2048, 1), bool)},
}


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("how", SUMS)
@pytest.mark.parametrize("case", ["plain", "Fortran", "sliced", "flipped", "unaligned", "byte-swapped", "float16"])
def test_psum_copies_no_array(traced: None, name: str, how: str, case: str) -> None:
    a, _ = CASES[case]()
    if case == "float16" and "dtype" in how:
        a = a[:, ::2]
    with np.errstate(over="ignore"):
        assert peak(lambda: psum(a, backend=name, **SUMS[how])) < BYTES // 2  # two pieces of complex128, at most


@pytest.mark.parametrize("name", BACKENDS)
def test_psum_of_a_long_line_copies_nothing(traced: None, name: str) -> None:
    a = np.ones(BYTES // 4, np.float32)
    for options in ({}, {"dtype": np.float64}, {"where": a > 0}, {"dtype": np.complex64}):
        assert peak(lambda options=options: psum(a, backend=name, **options)) < BYTES // 2  # type: ignore[misc]


PROGRAM = """
import sys
import numpy as np
from parlinalg import matvec, psum
from parlinalg.testing.strategies import lay_out

name, layout, dtype, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
small = lay_out(np.ones((64, 64), dtype), layout)
matvec(small, np.ones(64), backend=name, workers=1 if name == "numpy" else 2)
psum(small, backend=name)
A = lay_out(np.ones((2048, size // 2048 // np.dtype(dtype).itemsize), dtype), layout)
x = np.ones(A.shape[1])

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

open("/proc/self/clear_refs", "w").write("5")  # the peak is from now on
before = peak()
if sys.argv[5] == "copy":
    kept = [A.copy(), A.copy(), A.copy(), A.copy()]
matvec(A, x, backend=name)
psum(A, backend=name)
print(peak() - before)
"""


def resident_growth(name: str, layout: str, dtype: str, mode: str = "") -> int:
    """Bytes by which the peak of the resident memory grows: counts what C allocates as well."""
    command = [sys.executable, "-c", PROGRAM, name, layout, dtype, str(2 * BYTES), mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("layout", "dtype"), [("C", "f8"), ("byte-swapped", "f8"), ("flipped", "f4"), ("C", "i2")])
def test_resident_memory_does_not_grow_by_a_matrix(name: str, layout: str, dtype: str) -> None:
    assert resident_growth(name, layout, dtype) < BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_growth_of_resident_memory_is_seen() -> None:
    assert resident_growth("numpy", "C", "f8", "copy") > 2 * BYTES
