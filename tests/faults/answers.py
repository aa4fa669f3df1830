"""Right answers: ``python answers.py BACKEND NUMBER [SEED]`` compares sums and products with exact arithmetic."""

from __future__ import annotations

import sys
from itertools import cycle
from typing import Any

import numpy as np

import parlinalg as pla
from parlinalg.testing.checks import require_close, require_same_bits
from parlinalg.testing.oracle import exact_matvec, exact_sum

DTYPES = "dfeDFbhilBHIL?"
LARGE = "dfDl"
MANY: dict[str, tuple[int | None, ...]] = {"numpy": (None, 1), "opencl": (None,), "mpi": (None,), "ipyparallel": (1, 2)}


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype, hard: bool) -> Any:
    """Of any size, where that is hard; some of them special."""
    if dtype.kind in "biu":
        return rng.integers(0, 2 if dtype.kind == "b" else 100, shape).astype(dtype)
    spread = {2: 8, 4: 100, 8: 900}[np.dtype(dtype.type(0).real.dtype).itemsize] if hard else 3
    with np.errstate(all="ignore"):
        values = np.ldexp(rng.standard_normal(shape), rng.integers(-spread, spread, shape))
        if dtype.kind == "c":
            return (values + 1j * rng.standard_normal(shape)).astype(dtype)
        return values.astype(dtype)


def layout(rng: np.random.Generator, a: Any) -> Any:
    """The same numbers, or some of them, as they may lie."""
    return [a, a[::-1], a[::2], np.asfortranarray(a), a.astype(a.dtype.newbyteorder())][rng.integers(5)]


def check(backend: str, A: Any, x: Any, workers: int | None, what: str) -> None:
    """A sum and products."""
    options: dict[str, Any] = {"backend": backend} | ({} if workers is None else {"workers": workers})
    with np.errstate(all="ignore"):
        require_same_bits(pla.psum(A, **options), exact_sum(A).value, f"sum {what}")
        some = slice(None, None, 1 + len(A) // 40)  # Python's integers take their time
        require_close(pla.matvec(A, x, **options)[some], exact_matvec(A[some], x), f"product {what}")
        if A.dtype.kind in "fc":
            exact = pla.matvec(A, x, exact=True, **options)
            require_same_bits(exact, pla.matvec(A, x, exact=True, backend="numpy"), f"exact product {what}")


def small(backend: str, number: int, rng: np.random.Generator) -> None:
    """Shapes and layouts of any kind."""
    for i in range(number):
        dtype = np.dtype(DTYPES[i % len(DTYPES)])
        m, n = (int(one) for one in rng.integers(0, 40, 2))
        A = layout(rng, numbers(rng, (m, n), dtype, bool(i % 2)))
        check(backend, A, numbers(rng, (n,), dtype, False), None, str(i))


def large(backend: str, rng: np.random.Generator) -> None:
    """What is divided between workers."""
    many = MANY.get(backend, (1, 2, 3, 5))
    for dtype, workers in zip(map(np.dtype, LARGE), cycle(many), strict=False):
        A = layout(rng, numbers(rng, (300, 500), dtype, True))
        check(backend, A, numbers(rng, (A.shape[1],), dtype, False), workers, f"of 300x500, {dtype}, {workers}")
        a = numbers(rng, (200_000,), dtype, True)
        expected = exact_sum(a).value
        for count in many:
            found = pla.psum(a, backend=backend, workers=count)
            require_same_bits(found, expected, f"sum of 200,000, {dtype}, {count}")


def main(backend: str, number: int, fault: str = "") -> None:
    """Raise at the first that is wrong; where a fault is seeded, a last bit is."""
    if fault:
        right = pla.psum
        pla.psum = lambda a, **options: np.nextafter(right(a, **options), np.inf) if a.size > 150_000 else right(a)
    rng = np.random.default_rng(number)
    small(backend, number, rng)
    large(backend, rng)
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
