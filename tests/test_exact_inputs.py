"""Hard sums and products: each is rounded once, on every instruction set, and no way of computing changes a bit."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exact_inputs import (
    GENERATORS,
    LENGTHS,
    LONG,
    PUBLIC,
    VERY_LONG,
    as_dtype,
    condition_of,
    dot,
    ill_conditioned_dot,
    rounding_errors,
)
from parlinalg import _kernels, matvec, psum, vecdot, vecmat
from parlinalg.backends import Process
from parlinalg.testing import strategies as draw
from parlinalg.testing.checks import require_same_bits
from parlinalg.testing.oracle import exact_matvec, exact_sum, round_to
from parlinalg.testing.strategies import LAYOUTS, lay_out

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered")
OPENMP = _kernels.openmp_version() != ""
CALLS: list[tuple[str | None, int | None]] = [(None, None), ("numpy", 1)]  # the first may take the short cut
CALLS += [("openmp", workers) for workers in (1, 2, 3, 5)] if OPENMP else []
FLOATS = ("float64", "float32", "float16")
DTYPES = (*FLOATS, "complex128", "complex64")
HARDEST = ("normal", "spread 40", "spread 1000", "one outlier", "one tiny", "changing", "full chains", "subnormal")


def check_sum(a: Any, axis: Any = None) -> None:
    for sign in (1, -1):
        expected = exact_sum(sign * a, axis).value
        for backend, workers in CALLS:
            require_same_bits(
                psum(sign * a, axis, backend=backend, workers=workers), expected, (backend, workers, axis)
            )


@pytest.mark.parametrize("number", range(len(PUBLIC)))
def test_public_vectors(number: int) -> None:
    values, expected = PUBLIC[number]
    a = np.array(values, float)
    for backend, workers in CALLS:
        assert psum(a, backend=backend, workers=workers) == expected
        assert psum(-a, backend=backend, workers=workers) == -expected
    check_sum(a)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_all_lengths(name: str, dtype: str) -> None:
    rng = np.random.default_rng(list(GENERATORS).index(name))
    for n in LENGTHS if dtype in ("float64", "float32") else LENGTHS[::3]:
        check_sum(as_dtype(GENERATORS[name](rng, n), dtype))
    for n in LONG:
        check_sum(as_dtype(GENERATORS[name](rng, n), dtype))


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_ties_with_a_remainder_of_any_size(dtype: str, odd: bool) -> None:
    info = np.finfo(dtype)
    below = np.ldexp(1.0, np.arange(info.minexp - info.nmant, -info.nmant - 2))
    remainders = np.concatenate([below, -below])
    rows = np.empty((remainders.size, 3), dtype)
    rows[:, 0], rows[:, 1], rows[:, 2] = 1 + odd * info.eps, info.eps / 2, remainders
    check_sum(rows, 1)
    check_sum(np.asfortranarray(rows), 1)
    ones = np.ones(3, dtype)
    for row, expected in zip(rows, exact_sum(rows, 1).value, strict=True):
        require_same_bits(psum(row), expected, row)
        require_same_bits(vecdot(row, ones, exact=True), expected, row)


@pytest.mark.parametrize("name", HARDEST)
@pytest.mark.parametrize("n", VERY_LONG)
def test_very_long_sums(name: str, n: int) -> None:
    rng = np.random.default_rng(n)
    check_sum(GENERATORS[name](rng, n))
    check_sum(as_dtype(GENERATORS[name](rng, n // 2 * 2), "complex64"))


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    with Process() as backend:
        yield backend


@pytest.mark.parametrize("name", GENERATORS)
def test_processes_add_the_same(process: Process, name: str) -> None:
    rng = np.random.default_rng(list(GENERATORS).index(name))
    for n, dtype in [(1, "float64"), (2049, "float64"), (10_001, "float32"), (4096, "complex128")]:
        a = as_dtype(GENERATORS[name](rng, n), dtype)
        for signed in (a, -a):
            require_same_bits(psum(signed, backend=process, workers=2), exact_sum(signed).value, (n, dtype))
    square = np.resize(GENERATORS[name](rng, 2000), (50, 40))
    for axis in (0, 1):
        require_same_bits(psum(square, axis, backend=process, workers=2), exact_sum(square, axis).value, axis)


@pytest.mark.parametrize("name", GENERATORS)
def test_sums_along_axes(name: str) -> None:
    rng = np.random.default_rng(list(GENERATORS).index(name))
    for shape, axes in [((70, 37), (0, 1)), ((5, 300), (0, 1)), ((300, 5), (0, 1)), ((9, 20, 17), (0, 1, 2, (0, 2)))]:
        values = GENERATORS[name](rng, int(np.prod(shape)))
        for dtype in ("float64", "float32"):
            a = as_dtype(np.resize(values, shape), dtype)
            for axis in axes:
                check_sum(a, axis)


@pytest.mark.parametrize("name", HARDEST)
@pytest.mark.parametrize("dtype", ["float64", "float16", "complex64"])
def test_many_short_rows_and_few_long_columns(name: str, dtype: str) -> None:
    rng = np.random.default_rng(list(GENERATORS).index(name))
    for shape, axis in [((4100, 3), 0), ((300, 17), 1), ((3, 515), 0), ((2100, 18), 0)]:
        size = 2 * int(np.prod(shape))
        a = as_dtype(GENERATORS[name](rng, size), dtype)[: size // 2].reshape(shape)
        check_sum(a, axis)
        check_sum(lay_out(a, str(rng.choice(list(LAYOUTS)))), axis)


def test_columns_of_different_scales_side_by_side() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((400, 40)) * 2.0 ** rng.integers(-1000, 1000, 40)
    check_sum(a, 0)
    a[:, 3], a[7, 5], a[::9, 20] = np.nan, np.inf, 0
    expected = exact_sum(a, 0).value
    for backend, workers in CALLS:
        require_same_bits(psum(a, 0, backend=backend, workers=workers), expected, (backend, workers))


def test_nan_and_infinities_in_the_middle_of_a_long_array() -> None:
    rng = np.random.default_rng(0)
    for strange in ([np.nan], [np.inf], [-np.inf], [np.inf, np.inf], [np.inf, np.nan]):
        a = rng.standard_normal(50_000)
        a[rng.integers(0, a.size, len(strange))] = strange
        check_sum(a)


def test_real_and_imaginary_parts_of_different_scales() -> None:
    rng = np.random.default_rng(0)
    for power in (-900, -60, 60, 900):
        a = rng.standard_normal(5000) + 1j * np.ldexp(rng.standard_normal(5000), power)
        check_sum(a)
        check_sum(a[::3])
        check_sum(a.reshape(50, 100), 0)


@given(seed=draw.seeds(), name=st.sampled_from(sorted(GENERATORS)), n=st.integers(1, 3000), parts=st.integers(1, 5))
@settings(deadline=None)
def test_order_split_negation_and_layout_change_nothing(
    seed: np.random.Generator, name: str, n: int, parts: int
) -> None:
    a = GENERATORS[name](seed, n)
    total = psum(a)
    require_same_bits(psum(seed.permutation(a)), total, "permuted")
    require_same_bits(psum(-a), -total + 0.0 if np.isfinite(total) else -total, "negated")
    require_same_bits(psum(np.repeat(a, 3)[::3]), total, "every third")
    require_same_bits(psum(a.astype(">f8")), total, "byte-swapped")
    states = [_kernels.sum_states(part, 0, 1) for part in np.array_split(a, parts)]
    merged = np.empty(())
    _kernels.round_states(np.add.reduce(states), merged)
    require_same_bits(merged[()], total, "split")


@given(
    seed=draw.seeds(),
    name=st.sampled_from(sorted(GENERATORS)),
    dtype=st.sampled_from(DTYPES),
    n=st.integers(1, 3000),
    layout=st.sampled_from(sorted(LAYOUTS)),
    calls=st.tuples(st.sampled_from(CALLS), st.sampled_from(CALLS)),
)
@settings(deadline=None)
def test_any_two_backends_and_layouts_agree(
    seed: np.random.Generator, name: str, dtype: str, n: int, layout: str, calls: Any
) -> None:
    a = as_dtype(GENERATORS[name](seed, 2 * n), dtype)
    (backend, workers), (other, others) = calls
    with np.errstate(all="ignore"):
        total = psum(a, backend=backend, workers=workers)
        same = psum(lay_out(seed.permutation(a), layout), backend=other, workers=others)
        opposite = psum(lay_out(-a, layout), backend=other, workers=others)
        require_same_bits(same, total, (calls, layout))
        require_same_bits(opposite, -total + np.zeros((), dtype)[()], (calls, layout, "negated"))


@given(seed=draw.seeds(), power=st.integers(-400, 400), n=st.integers(1, 3000))
@settings(deadline=None)
def test_scaling_by_a_power_of_two_scales_the_sum(seed: np.random.Generator, power: int, n: int) -> None:
    a = GENERATORS["spread 60"](seed, n)
    require_same_bits(psum(np.ldexp(a, power)), np.ldexp(psum(a), power))


# Products


def rounded(value: Fraction) -> Any:
    return round_to(value.numerator, 1 - value.denominator.bit_length(), np.dtype(float))[0]


@pytest.mark.parametrize("bits", range(27, 53))
def test_no_error_of_a_product_underflows(bits: int) -> None:
    for power in range(-1022, -900):
        x, y = rounding_errors(power, bits, 4)
        expected = rounded(dot(x, y))
        require_same_bits(vecdot(x, y, exact=True), expected, (power, bits))
        require_same_bits(vecdot(x, -y, exact=True), -expected, (power, bits))
        require_same_bits(matvec(np.stack([x, -x]), y, exact=True)[0], expected, (power, bits))


@pytest.mark.parametrize("exponent", [10, 20, 50, 100, 150, 200])
def test_the_condition_is_what_is_asked_for(exponent: int) -> None:
    rng = np.random.default_rng(exponent)
    for n in (100, 1023, 1025):  # fewer than 20 numbers cannot cancel so much: each takes away 53 bits at most
        x, y = ill_conditioned_dot(rng, n, 10.0**exponent)
        assert -3 < math.log10(condition_of(x, y)) - exponent < 5


@pytest.mark.parametrize("exponent", [0, 10, 20, 50, 100, 150, 200])
def test_ill_conditioned_dot_products(exponent: int) -> None:
    rng = np.random.default_rng(exponent)
    for n in (6, 100, 1023, 1025):
        x, y = ill_conditioned_dot(rng, n, 10.0**exponent)
        expected = rounded(dot(x, y))
        for backend, workers in CALLS:
            options: dict[str, Any] = {"exact": True, "backend": backend, "workers": workers}
            require_same_bits(vecdot(x, y, **options), expected, (n, backend, workers))
            require_same_bits(vecdot(-x, y, **options), -expected, (n, backend, workers))
            require_same_bits(matvec(np.stack([y, -y]), x, **options), np.array([expected, -expected]), "matvec")


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("dtype", [*FLOATS, "complex128"])
def test_products_of_hard_numbers(name: str, dtype: str) -> None:
    rng = np.random.default_rng(list(GENERATORS).index(name))
    for m, n in [(3, 70), (70, 3), (1, 1030), (40, 33)]:
        A, x = (as_dtype(np.resize(GENERATORS[name](rng, size), size), dtype) for size in (m * n * 2, n * 2))
        A, x = A[: m * n].reshape(m, n), x[:n]
        expected = exact_matvec(A, x).rounded()
        for backend, workers in CALLS[:4]:
            options: dict[str, Any] = {"exact": True, "backend": backend, "workers": workers}
            require_same_bits(matvec(A, x, **options), expected, (m, n, backend, workers))
            require_same_bits(vecmat(x.conj(), np.asfortranarray(A).T, **options), expected, (m, n, backend, workers))


def test_products_that_underflow_or_overflow_on_the_way() -> None:
    cases = [
        ([1e200, 1e200], [1e200, -1e200], 0.0),
        ([1e-200, 1.0], [1e-200, 5e-324], 5e-324),
        ([2.0**-600] * 4, [2.0**-475] * 4, 2.0**-1073),
        ([2.0**-1074, 1.0], [0.5, 0.0], 0.0),
        ([2.0**-1074, 2.0**-1074], [0.5, 0.75], 2.0**-1074),
        ([5e-324], [5e-324], 0.0),
        ([5e-324], [-5e-324], -0.0),
        ([1e308, 1e308], [10.0, -10.0], 0.0),
    ]
    for x, y, expected in cases:
        for pad in (0, 20, 2000):
            zeros = [0.0] * pad
            for backend, workers in CALLS:
                value = vecdot([*x, *zeros], [*y, *zeros], exact=True, backend=backend, workers=workers)
                require_same_bits(value, np.float64(expected), (x, y, pad, backend))


# Instruction sets


def computed(a: Any, square: Any) -> Iterator[Any]:
    """Sums and products of every form."""
    for dtype in DTYPES:
        cast, matrix = as_dtype(a, dtype), as_dtype(square.ravel(), dtype)
        yield from (psum(cast), psum(cast[::-3]), vecdot(cast, cast[::-1], exact=True))
        matrix = matrix.reshape(-1, square.shape[1])
        yield from (psum(matrix, 0), psum(matrix, 1), psum(np.asfortranarray(matrix), 0))
        yield from (matvec(matrix, matrix[0], exact=True), vecmat(matrix[:, 0], matrix, exact=True))


def digest() -> str:
    """Of the bits of many sums and products, whose lengths leave each possible rest beside vectors and blocks."""
    rng = np.random.default_rng(7)
    bits = hashlib.sha256()
    for make in GENERATORS.values():
        for n in (*LENGTHS[1:], *LONG):
            with np.errstate(all="ignore"):
                for result in computed(make(rng, n), np.resize(make(rng, 2 * n), (34, 1 + n % 37))):
                    bits.update(np.asarray(result).tobytes())
    return bits.hexdigest()


@pytest.mark.parametrize("name", _kernels.available())
def test_every_instruction_set_gives_the_same_bits(name: str) -> None:
    program = "import test_exact_inputs as t; print(t._kernels.simd(), t.digest())"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        env=os.environ | {"PARLINALG_SIMD": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout.split() == [name, digest()], finished.stderr


@pytest.mark.parametrize("name", _kernels.available())
def test_folds_are_trusted_here(name: str) -> None:
    """Otherwise all sums would still be right, by integers, and nothing would have tested the folds."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import parlinalg"],
        env=os.environ | {"PARLINALG_SIMD": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


def test_the_reference_of_products_is_right() -> None:
    assert dot(np.array([0.5, 2.0]), np.array([4.0, 0.25])) == Fraction(5, 2)
