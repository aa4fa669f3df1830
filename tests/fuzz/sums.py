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
AXES: list[Any] = [None, 0, -1, (0, -1)]
BACKENDS = ["numpy", "openmp"] if parlinalg.backends()["openmp"].available else ["numpy"]
Case = Callable[[np.random.Generator, Any], int]  # checks one of the module's functions; returns the elements


def operand(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    """Values of a random kind in a random layout."""
    size = int(np.prod(shape))
    make = GENERATORS[str(rng.choice(list(GENERATORS)))]
    a = as_dtype(np.resize(make(rng, 2 * size), 2 * size), dtype)[:size].reshape(shape)
    return strategies.lay_out(a, str(rng.choice(list(strategies.LAYOUTS))))


def call_options(rng: np.random.Generator) -> dict[str, Any]:
    if rng.random() < 0.2:
        return {}  # which may take the short cut
    backend = str(rng.choice(BACKENDS))
    return {"backend": backend, "workers": 1 if backend == "numpy" else int(rng.integers(1, 6))}


def check_sum(rng: np.random.Generator, module: Any) -> int:
    """A sum along some axes, or along all."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    a = operand(rng, shape, str(rng.choice(DTYPES)))
    axis = AXES[rng.integers(len(AXES) if a.ndim > 1 else 3)]
    options = call_options(rng)
    require_same_bits(module.psum(a, axis, **options), exact_sum(a, axis).value, (a.dtype, shape, axis, options))
    return int(a.size)


def check_tail(rng: np.random.Generator, module: Any) -> int:
    """A sum of any length: all that may be left beside vectors and blocks."""
    a = operand(rng, (int(rng.integers(1, 4200)),), str(rng.choice(DTYPES)))
    options = call_options(rng)
    require_same_bits(module.psum(a, **options), exact_sum(a).value, (a.dtype, a.shape, options))
    return int(a.size)


def check_long_sum(rng: np.random.Generator, module: Any) -> int:
    """A sum of so many elements that folds are emptied on the way."""
    a = operand(rng, (int(rng.integers(30_000, 500_000)),), str(rng.choice(["float64", "float32"])))
    options = call_options(rng)
    require_same_bits(module.psum(a, **options), exact_sum(a).value, (a.dtype, a.shape, options))
    return int(a.size)


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


def check_product(rng: np.random.Generator, module: Any) -> int:
    """The same product by matvec, vecmat and vecdot."""
    m, n = int(rng.integers(1, 40)), int(rng.choice([1, 5, 30, 300, 1100]))
    dtype = str(rng.choice(DTYPES))
    A, x = operand(rng, (m, n), dtype), operand(rng, (n,), dtype)
    options = call_options(rng) | {"exact": True}
    expected = exact_matvec(A, x).rounded()
    require_same_bits(module.matvec(A, x, **options), expected, ("matvec", A.dtype, A.shape, options))
    require_same_bits(module.vecmat(x.conj(), A.T, **options), expected, ("vecmat", A.dtype, A.shape, options))
    require_same_bits(module.vecdot(x.conj(), A, **options), expected, ("vecdot", A.dtype, A.shape, options))
    return int(A.size)


CASES: dict[str, Case] = {
    "sum": check_sum,
    "tail": check_tail,
    "long sum": check_long_sum,
    "rows": check_rows,
    "product": check_product,
}
SHARES = [0.35, 0.35, 0.05, 0.05, 0.2]  # of the cases


def try_case(seed: int, number: int, module: Any = parlinalg) -> int:
    """Make this case and check it; return its elements, or raise what is wrong with it."""
    rng = np.random.default_rng([seed, number])
    name = str(rng.choice(list(CASES), p=SHARES))
    try:
        with np.errstate(all="ignore"):
            return CASES[name](rng, module)
    except Exception:  # whatever it is, it must not end the search without a word about how to see it again
        print(f"failed: {name}; again: python tests/fuzz/sums.py --seed {seed} --case {number}")
        raise


def search(seconds: float, seed: int, module: Any = parlinalg) -> int:
    """Try cases until the time is over; return how many, or raise at the first that fails."""
    print(f"seed {seed}", flush=True)
    ends, elements, number = time.monotonic() + seconds, 0, 0
    while time.monotonic() < ends:
        elements += try_case(seed, number, module)
        number += 1
    print(f"{number} cases, {elements} elements, 0 failures")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--case", type=int, help="only the one of this number")
    arguments = parser.parse_args()
    if arguments.case is None:
        search(arguments.seconds, arguments.seed)
    else:
        print(f"{try_case(arguments.seed, arguments.case)} elements, 0 failures")


if __name__ == "__main__":
    main()
