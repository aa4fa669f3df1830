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
    ([0.1], 0.1),
    ([0.1, -0.1], 0),
    (
        [-1.1442589134409902e308, 9.593842098384855e138, 4.494232837155791e307]
        + [-1.3482698511467367e308, 4.494232837155792e307],
        -1.5936821971565685e308,
    ),
    (
        [-1.1442589134409902e308, 4.494232837155791e307, -1.3482698511467367e308, 4.494232837155792e307],
        -1.5936821971565687e308,
    ),
    (
        [9.593842098384855e138, -6.948356297254111e307, -1.3482698511467367e308, 4.494232837155792e307],
        -1.5936821971565685e308,
    ),
    ([-2.534858246857893e115, 8.988465674311579e307, 8.98846567431158e307], LARGEST),
    ([1.3588124894186193e308, 1.4803986201152006e223, 6.741349255733684e307], math.inf),
    ([6.741349255733684e307, 1.7976931348623155e308, -7.388327292663961e41], math.inf),
    ([-1.9807040628566093e28, LARGEST, 9.9792015476736e291], LARGEST),
    ([-1.0214557991173964e61, LARGEST, 8.98846567431158e307, -8.988465674311579e307], LARGEST),
    (
        [LARGEST, 7.999999999999999, -1.908963895403937e-230, 1.6445950082320264e292, 2.0734856707605806e205],
        math.inf,
    ),
    ([6.197409167220438e-223, -9.979201547673601e291, -LARGEST], -math.inf),
    (
        [4.49423283715579e307, 8.944251746776101e307, -0.0002441406250000001, 1.1752060710043817e308]
        + [4.940846717201632e292, -1.6836699406454528e308],
        8.353845887521184e307,
    ),
    (
        [8.988465674311579e307, 7.999999999999998, 7.029158107234023e-308, -2.2303483759420562e-172]
        + [-LARGEST, -8.98846567431158e307],
        -LARGEST,
    ),
    ([8.98846567431158e307, 8.98846567431158e307], math.inf),
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
    ([1.7 ** (n + 1) - 1.7**n for n in range(1000)] + [-(1.7**1000)], -1.0),
]


def spread(binades: int) -> Generator:
    """Values of exponents from -binades to +binades, all over the array."""
    return lambda rng, n: np.ldexp(rng.standard_normal(n), rng.integers(-binades, binades + 1, n))


def cancelling(rng: np.random.Generator, n: int) -> Array:
    """Each value and its negative, shuffled, and the smallest number: which is the sum."""
    half = np.ldexp(rng.standard_normal(n // 2), rng.integers(-300, 300, n // 2))
    return np.asarray(rng.permutation(np.concatenate([half, -half, [SMALLEST]]))[: max(n, 1)])


def ties(rng: np.random.Generator, n: int) -> Array:
    """Halfway between two numbers of some precision, but for a smaller one on either side, or none."""
    bits = int(rng.choice([53, 24, 11]))
    values = np.zeros(max(n, 3))
    values[:3] = [1.0, 2.0**-bits, rng.choice([SMALLEST, 2.0 ** -rng.integers(bits + 1, 300)]) * rng.integers(-1, 2)]
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


def changing(rng: np.random.Generator, n: int) -> Array:
    """Stretches of easy numbers, of hopelessly spread ones, and of other magnitudes: windows come and go."""
    stretches = (np.arange(n) // int(rng.choice([300, 5000, 40_000]))) % 4
    reach, middle = np.array([0, 900, 0, 60])[stretches], np.array([0, 0, 300, -200])[stretches]
    return np.asarray(np.ldexp(rng.standard_normal(n), middle + np.rint(rng.uniform(-1, 1, n) * reach).astype(int)))


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
    "changing": changing,
    "subnormal": subnormal,
    "zeros": zeros,
    "full chains": full_chains,
    "edges": power_of_two_edges,
}

# Tails of vectors, and both sides of the blocks in which sums are folded.
LENGTHS = [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 127, 255, 256, 257, 511, 513, 1023, 1024, 1025, 2047, 2048, 2049]
LONG = [4095, 4097, 10_001]
# Beyond what folds hold before they are emptied, and the blocks after which a hard stretch is taken to be over.
VERY_LONG = [70_001, 700_001]


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


def rounding_errors(power: int, bits: int, count: int) -> tuple[Array, Array]:
    """Factors of products near 2**power, and what takes their rounded values away: the dot product is what is left.

    Each product is (1 + 2**-bits)**2, of few bits, whose error is 2**(power - 2 bits): alone it may underflow.
    """
    factor = 1 + 2.0**-bits
    a, b = math.ldexp(factor, power // 2), math.ldexp(factor, power - power // 2)
    return np.array([a, -a * b] * count), np.array([b, 1.0] * count)


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
