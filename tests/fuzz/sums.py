"""A random search for sums and products that are not the exact ones, rounded once.

Run ``python tests/fuzz/sums.py --seconds 3600``; see README.md beside it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import parlinalg  # noqa: E402
from exact_inputs import GENERATORS, as_dtype  # noqa: E402
from parlinalg.testing import strategies  # noqa: E402
from parlinalg.testing.checks import require_same_bits  # noqa: E402
from parlinalg.testing.oracle import exact_matvec, exact_sum  # noqa: E402

DTYPES = ["float64", "float32", "float16", "complex128", "complex64"]
SHAPES: list[tuple[int, ...]] = [(1,), (7,), (100,), (2049,), (6000,), (3, 40), (40, 3), (33, 70), (1, 1030), (5, 6, 7)]
Case = Callable[[np.random.Generator, Any], int]


def operand(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    """Values of a random kind in a random layout."""
    make = GENERATORS[str(rng.choice(list(GENERATORS)))]
    values = as_dtype(np.resize(make(rng, 2 * int(np.prod(shape))), 2 * int(np.prod(shape))), dtype)
    a = values[: int(np.prod(shape))].reshape(shape)
    return strategies.lay_out(a, str(rng.choice(list(strategies.LAYOUTS))))


def call_options(rng: np.random.Generator) -> dict[str, Any]:
    backend = str(rng.choice(["numpy", "openmp"] if parlinalg.backends()["openmp"].available else ["numpy"]))
    return {"backend": backend, "workers": 1 if backend == "numpy" else int(rng.integers(1, 6))}


def check_sum(rng: np.random.Generator, module: Any) -> int:
    shape = SHAPES[rng.integers(len(SHAPES))]
    a = operand(rng, shape, str(rng.choice(DTYPES)))
    axis = [None, 0, -1][rng.integers(3)]
    options = call_options(rng)
    require_same_bits(module.psum(a, axis, **options), exact_sum(a, axis).value, (a.dtype, shape, axis, options))
    return int(a.size)


def check_product(rng: np.random.Generator, module: Any) -> int:
    m, n = int(rng.integers(1, 40)), int(rng.choice([1, 5, 30, 300, 1100]))
    dtype = str(rng.choice(DTYPES))
    A, x = operand(rng, (m, n), dtype), operand(rng, (n,), dtype)
    options = call_options(rng)
    expected = exact_matvec(A, x).rounded()
    require_same_bits(module.matvec(A, x, exact=True, **options), expected, (A.dtype, A.shape, options))
    require_same_bits(module.vecmat(x.conj(), A.T, exact=True, **options), expected, (A.dtype, A.shape, options))
    return int(A.size)


def check_rows(rng: np.random.Generator, module: Any) -> int:
    """Thousands of short sums at once, against Python's own exact sum."""
    shape = (2000, int(rng.integers(1, 40)))
    make = GENERATORS[str(rng.choice(list(GENERATORS)))]
    a = np.clip(np.resize(make(rng, 2 * shape[0] * shape[1]), shape), -1e300, 1e300)
    options = call_options(rng)
    expected = np.array([math.fsum(row) + 0.0 for row in a.tolist()])
    require_same_bits(module.psum(a, 1, **options), expected, (shape, options))
    require_same_bits(module.psum(np.asfortranarray(a), 1, **options), expected, (shape, "Fortran", options))
    return int(a.size)


CASES: list[Case] = [check_sum, check_sum, check_sum, check_rows, check_product]


def search(seconds: float, seed: int, module: Any = parlinalg) -> int:
    """Try cases until the time is over; return how many, or raise AssertionError at the first that fails."""
    ends, elements, number = time.monotonic() + seconds, 0, 0
    while time.monotonic() < ends:
        rng = np.random.default_rng([seed, number])
        try:
            with np.errstate(all="ignore"):
                elements += CASES[rng.integers(len(CASES))](rng, module)
        except AssertionError:
            print(f"failed: case {number} of seed {seed}; numpy.random.default_rng([{seed}, {number}]) makes it again")
            raise
        number += 1
    print(f"{number} cases, {elements} elements, 0 failures (seed {seed})")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    search(arguments.seconds, arguments.seed)


if __name__ == "__main__":
    main()
