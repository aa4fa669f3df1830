"""What is hard to sum: public vectors, and generators that aim at windows, blocks, ties and the ends of the range."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Generator = Callable[[np.random.Generator, int], Array]

LARGEST, SMALLEST = float(np.finfo(np.float64).max), 5e-324

# tc39/test262, test/built-ins/Math/sumPrecise; and CPython, Lib/test/test_math.py, testFsum.
PUBLIC: list[tuple[list[float], float]] = [
    ([1, 2, 3], 6),
    ([1e308], 1e308),
    ([1e308, -1e308], 0),
    ([0.1, 0.1], 0.2),
    ([1e308, 1e308, 0.1, 0.1, 1e30, 0.1, -1e30, -1e308, -1e308], 0.30000000000000004),
    ([1e30, 0.1, -1e30], 0.1),
    ([8.98846567431158e307, 8.988465674311579e307, -LARGEST], 9.9792015476736e291),
    ([-5.630637621603525e255, 9.565271205476345e307, 2.9937604643020797e292], 9.565271205476347e307),
    (
        [6.739986666787661e66, 2, -1.2689709186578243e-116, 1.7046015739467354e308, -9.979201547673601e291]
        + [6.160926733208294e307, -3.179557053031852e234, -7.027282978772846e307, -0.7500000000000001],
        1.61796594939028e308,
    ),
    (
        [0.31150493246968836, -8.988465674311582e307, 1.8315037361673755e-270, -15.999999999999996]
        + [2.9999999999999996, 7.345200721499384e164, -2.033582473639399, -8.98846567431158e307]
        + [-3.5737295155405993e292, 4.13894772383715e-124, -3.6111186457260667e-35, 2.387234887098013e180]
        + [7.645295562778372e-298, 3.395189016861822e-103, -2.6331611115768973e-149],
        -math.inf,
    ),
    ([LARGEST, LARGEST, -LARGEST], LARGEST),
    ([LARGEST, 2.0**970, -SMALLEST], LARGEST),
    ([LARGEST, 2.0**970], math.inf),
    ([], 0.0),
    ([0.0], 0.0),
    ([1e100, 1.0, -1e100, 1e-100, 1e50, -1.0, -1e50], 1e-100),
    ([2.0**53, -0.5, -(2.0**-54)], 2.0**53 - 1.0),
    ([2.0**53, 1.0, 2.0**-100], 2.0**53 + 2.0),
    ([2.0**53 + 10.0, 1.0, 2.0**-100], 2.0**53 + 12.0),
    ([2.0**53 - 4.0, 0.5, 2.0**-54], 2.0**53 - 3.0),
    ([1.0 / n for n in range(1, 1001)], float.fromhex("0x1.df11f45f4e61ap+2")),
    ([(-1.0) ** n / n for n in range(1, 1001)], float.fromhex("-0x1.62a2af1bd3624p-1")),
    ([1e16, 1.0, 1e-16], 10000000000000002.0),
    ([1e16 - 2.0, 1.0 - 2.0**-53, -(1e16 - 2.0), -(1.0 - 2.0**-53)], 0.0),
    (
        [2.0**n - 2.0 ** (n + 50) + 2.0 ** (n + 52) for n in range(-1074, 972, 2)] + [-(2.0**1022)],
        float.fromhex("0x1.5555555555555p+970"),
    ),
]


def spread(binades: int) -> Generator:
    """Values of exponents from -binades to +binades, all over the array."""
    return lambda rng, n: np.ldexp(rng.standard_normal(n), rng.integers(-binades, binades + 1, n))


def cancelling(rng: np.random.Generator, n: int) -> Array:
    """Each value and its negative, shuffled, and the smallest number: which is the sum."""
    half = np.ldexp(rng.standard_normal(n // 2), rng.integers(-300, 300, n // 2))
    return np.asarray(rng.permutation(np.concatenate([half, -half, [SMALLEST]]))[: max(n, 1)])


def ties(rng: np.random.Generator, n: int) -> Array:
    """Halfway between two numbers, but for the smallest one on either side, or neither."""
    values = np.zeros(max(n, 3))
    values[:3] = [1.0, 2.0**-53, rng.choice([SMALLEST, -SMALLEST, 0.0])]
    return np.asarray(rng.permutation(values) * rng.choice([-1.0, 1.0]))


def near_overflow(rng: np.random.Generator, n: int) -> Array:
    values = np.zeros(max(n, 3))
    values[:3] = [LARGEST, 2.0**970, rng.choice([SMALLEST, -SMALLEST, 0.0])]
    return np.asarray(rng.permutation(values))


def large_integers(rng: np.random.Generator, n: int) -> Array:
    """Around 2**53, beyond which not every integer is a float64."""
    return np.asarray((2.0**53 + rng.integers(-4, 5, n)) * rng.choice([-1.0, 1.0], n))


def one_outlier_per_block(rng: np.random.Generator, n: int) -> Array:
    values = rng.standard_normal(n)
    values[rng.integers(0, 2048) % max(n, 1) :: 2048] *= 2.0 ** rng.choice([30, 60, 120, 240, 900])
    return np.asarray(values)


def tiny_among_ones(rng: np.random.Generator, n: int) -> Array:
    """One value in each block far below the windows that the others need."""
    values = rng.standard_normal(n)
    values[rng.integers(0, 2048) % max(n, 1) :: 2048] *= 2.0 ** -rng.choice([30, 60, 120, 240, 900])
    return np.asarray(values)


def growing(rng: np.random.Generator, n: int) -> Array:
    """Magnitudes from 2**-1000 to 2**1000 along the array, or back."""
    exponents = np.linspace(-1000, 1000, n).astype(int)[:: rng.choice([-1, 1])]
    return np.asarray(np.ldexp(rng.standard_normal(n), exponents))


def subnormal(rng: np.random.Generator, n: int) -> Array:
    return np.asarray(rng.integers(-(2**52), 2**52, n) * SMALLEST)


def zeros(rng: np.random.Generator, n: int) -> Array:
    """Zeros of both signs, whole blocks of them, and a few numbers."""
    return np.where(rng.random(n) < 0.001, rng.standard_normal(n), rng.choice([0.0, -0.0], n))


def full_chains(rng: np.random.Generator, n: int) -> Array:
    """A window chosen for the first numbers that the others just fit into: sums of folds grow as fast as they can."""
    values = np.ldexp(rng.uniform(0.9, 1.0, n), 5)
    values[: rng.integers(1, 40)] = 1.0
    return np.asarray(values * rng.choice([-1.0, 1.0]))


def power_of_two_edges(rng: np.random.Generator, n: int) -> Array:
    """Just below, at and just above powers of two: where windows end."""
    powers = np.ldexp(1.0, rng.integers(-60, 60, n))
    return np.asarray(rng.choice([-1.0, 1.0], n) * np.nextafter(powers, powers * rng.choice([0.0, 1.0, 2.0], n)))


GENERATORS: dict[str, Generator] = {
    "normal": spread(0),
    "spread 20": spread(20),
    "spread 40": spread(40),
    "spread 60": spread(60),
    "spread 100": spread(100),
    "spread 150": spread(150),
    "spread 1000": lambda rng, n: np.ldexp(rng.standard_normal(n), rng.integers(-1074, 1020, n)),
    "cancelling": cancelling,
    "ties": ties,
    "near overflow": near_overflow,
    "large integers": large_integers,
    "one outlier": one_outlier_per_block,
    "one tiny": tiny_among_ones,
    "growing": growing,
    "subnormal": subnormal,
    "zeros": zeros,
    "full chains": full_chains,
    "edges": power_of_two_edges,
}

# Tails of vectors, and both sides of the blocks in which sums are folded.
LENGTHS = [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 127, 255, 256, 257, 511, 513, 1023, 1024, 1025, 2047, 2048, 2049]
LONG = [4095, 4097, 10_001]


def dot(x: Array, y: Array) -> Fraction:
    """The exact sum of products, in integers."""
    return sum((Fraction(a) * Fraction(b) for a, b in zip(x.tolist(), y.tolist(), strict=True)), Fraction(0))


def ill_conditioned_dot(rng: np.random.Generator, n: int, condition: float) -> tuple[Array, Array]:
    """Vectors whose dot product has about this condition number.

    Half of the products have exponents up to that of the condition; the others cancel what came before (Ogita, Rump,
    Oishi 2005, Accurate sum and dot product, algorithm 6.1).
    """
    bits = math.log2(condition)
    half = n // 2
    exponents = np.rint(rng.random(half) * bits / 2).astype(int)
    exponents[0], exponents[-1] = round(bits / 2) + 1, 0
    x = np.ldexp(rng.uniform(-1, 1, n), np.concatenate([exponents, np.zeros(n - half, int)]))
    y = np.ldexp(rng.uniform(-1, 1, n), np.concatenate([exponents, np.zeros(n - half, int)]))
    down = np.rint(np.linspace(bits / 2, 0, n - half)).astype(int)
    total = dot(x[:half], y[:half])
    for i, exponent in zip(range(half, n), down.tolist(), strict=True):
        x[i] = math.ldexp(rng.uniform(-1, 1), exponent)
        y[i] = float((Fraction(math.ldexp(rng.uniform(-1, 1), exponent)) - total) / Fraction(x[i]))
        total += Fraction(x[i]) * Fraction(y[i])
    order = rng.permutation(n)
    return x[order], y[order]


def condition_of(x: Array, y: Array) -> float:
    """Of a dot product: 2 |x| |y| / |x y|; infinite where that is zero."""
    value = abs(dot(x, y))
    return math.inf if value == 0 else float(2 * dot(abs(x), abs(y)) / value)


def as_dtype(values: Array, dtype: Any) -> NDArray[Any]:
    """Finite values in a dtype; of complex ones the real and imaginary parts."""
    with np.errstate(all="ignore"):
        kind = np.dtype(dtype)
        if kind.kind == "c":
            parts = as_dtype(values[: values.size // 2 * 2], np.zeros((), kind).real.dtype)
            return parts.view(kind)
        cast = values.astype(kind)
    return np.where(np.isfinite(cast), cast, 1).astype(kind)
