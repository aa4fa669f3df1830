"""Exact results do not depend on the floating-point environment of the caller, and leave it as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from exact_inputs import GENERATORS, as_dtype
from floating_environment import BITS, MODES, control, environment, why_not
from parlinalg import _kernels, matvec, psum, vecdot, vecmat
from parlinalg.testing.checks import require_same_bits

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
CALLS = [("numpy", 1), *([("openmp", workers) for workers in (1, 2, 3)] if _kernels.openmp_version() else [])]
NAMES = ["normal", "spread 40", "ties", "subnormal", "large integers", "spread 1000"]


def inputs() -> list[tuple[Any, Any, Any]]:
    """Of each kind: float64, a few float32 bits of which some are subnormal, and float16."""
    rng = np.random.default_rng(5)
    found = []
    for name in NAMES:
        a = GENERATORS[name](rng, 4000)
        single = np.ldexp(a[:2000], -140).astype(np.float32)
        found.append((a, single, as_dtype(a, "f2")))
    return found


def results(given: list[tuple[Any, Any, Any]]) -> list[Any]:
    found: list[Any] = []
    for a, single, half in given:
        square = a.reshape(50, 80)
        for backend, workers in CALLS:
            options: dict[str, Any] = {"backend": backend, "workers": workers}
            found += [psum(a, **options), psum(single, **options), psum(half, **options), psum(square, 0, **options)]
            found += [psum(single, dtype=np.float64, **options), psum(half, initial=1, **options)]
            found += [matvec(square, square[0], exact=True, **options)]
            found += [vecmat(single[:40], single[:1600].reshape(40, 40), exact=True, **options)]
            found += [matvec(single[:1600].reshape(40, 40), a[:40], exact=True, **options)]
            found += [matvec(square, single[:80], exact=True, **options)]
            found += [matvec(square, square[0], exact=True, dtype=np.float32, **options)]
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("backend", "workers"), CALLS)
def test_each_call_restores_the_mode(mode: str, backend: str, workers: int) -> None:
    a = np.array([5e-324, 1.0, 2.0**-53] * 2000)
    square = a.reshape(60, 100)
    for call in (
        lambda: psum(a, backend=backend, workers=workers),
        lambda: psum(square, 0, backend=backend, workers=workers),
        lambda: matvec(square, square[0], exact=True, backend=backend, workers=workers),
    ):
        with environment(mode):
            call()
            after = control()
        assert after == MODES[mode] & BITS


def test_the_helper_restores_what_was_set_before_even_after_an_error() -> None:
    before = control()
    with pytest.raises(ZeroDivisionError), environment("round up"):
        raise ZeroDivisionError
    assert control() == before
    with environment("round down"):
        with environment("flush to zero"):
            pass
        assert control() == MODES["round down"] & BITS


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_changes_a_bit(mode: str) -> None:
    with np.errstate(all="ignore"):
        given = inputs()
        expected = results(given)
        with environment(mode):
            computed = results(given)
            after = control()
    assert after == MODES[mode] & BITS
    for actual, right in zip(computed, expected, strict=True):
        require_same_bits(actual, right, mode)


def test_subnormal_float16_are_multiplied_where_others_are_flushed(instruction_set: str) -> None:
    for n in range(1, 20):
        A, x = np.full((3, n), 6e-8, np.float16), np.ones(n, np.float16)
        expected = np.matvec(A, x)
        with environment("flush to zero"):
            for backend in ("openmp", None):
                require_same_bits(matvec(A, x, backend=backend), expected, n)
                require_same_bits(vecdot(A[0], x, backend=backend), expected[0], n)
                require_same_bits(vecdot(A, A + 1, backend=backend), expected, n)


def test_the_modes_are_really_set() -> None:
    tiny, third = np.float64(5e-324), np.float64(3)
    with environment("flush to zero"):
        assert tiny * np.float64(1.0) == 0
    assert tiny * np.float64(1.0) != 0
    quotients = []
    for mode in ("round down", "round up"):
        with environment(mode):
            quotients.append(np.float64(1) / third)
    assert quotients[0] < quotients[1]
