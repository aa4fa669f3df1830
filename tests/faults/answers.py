"""Right answers: ``python answers.py BACKEND NUMBER`` compares sums and products with exact arithmetic."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import parlinalg as pla
from parlinalg.testing.checks import require_close, require_same_bits
from parlinalg.testing.oracle import exact_matvec, exact_sum

DTYPES = "dfeDFbhilBHIL?"


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


def main(backend: str, number: int) -> None:
    """Raise at the first that is wrong."""
    rng = np.random.default_rng(number)
    for i in range(number):
        dtype = np.dtype(DTYPES[i % len(DTYPES)])
        m, n = (int(one) for one in rng.integers(0, 40, 2))
        A = layout(rng, numbers(rng, (m, n), dtype, bool(i % 2)))
        x = numbers(rng, (n,), dtype, False)
        with np.errstate(all="ignore"):
            require_same_bits(pla.psum(A, backend=backend), exact_sum(A).value, f"sum {i}")
            require_close(pla.matvec(A, x, backend=backend), exact_matvec(A, x), f"product {i}")
            if dtype.kind in "fc":
                exact = pla.matvec(A, x, exact=True, backend=backend)
                require_same_bits(exact, pla.matvec(A, x, exact=True, backend="numpy"), f"exact product {i}")
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
