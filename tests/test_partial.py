"""PartialSum: the bits of psum from any pieces in any order, and a state that any integer sum merges."""

from __future__ import annotations

import pickle
import subprocess
import sys
from copy import deepcopy
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import parlinalg
from parlinalg import PartialSum, psum
from parlinalg.registry import default_instance
from parlinalg.testing.checks import require_same_bits
from parlinalg.testing.oracle import exact_sum
from parlinalg.testing.strategies import SUM_DTYPES, SUM_VALUES, Sum, lay_out, seeds, special, sums

Array = NDArray[Any]

FLOATS = ("float16", "float32", "float64")
FINITE = st.floats(allow_nan=False, allow_infinity=False)
LARGEST = 1.7976931348623157e308
ROOT = Path(parlinalg.__file__).parents[1]


def quiet_round(partial: PartialSum, dtype: Any = None) -> Any:
    with np.errstate(all="ignore"):
        return partial.round(dtype)


def allreduce(states: list[Array]) -> Array:
    """What ``Allreduce`` with MPI.SUM does: adds int64 arrays elementwise, two at a time, in some tree."""
    while len(states) > 1:
        states = [reduce(add, states[i : i + 2]) for i in range(0, len(states), 2)]
    return states[0]


# The promise: the bits of psum.


@given(s=sums(values=(*SUM_VALUES, special)))
def test_of_is_psum(s: Sum) -> None:
    with np.errstate(all="ignore"):
        partial = PartialSum.of(s.a)
        require_same_bits(partial.round(), psum(s.a))
    require_same_bits(quiet_round(partial), exact_sum(s.a).value)
    assert partial.dtype == np.sum(s.a[:0] if s.a.ndim else s.a).dtype


@given(s=sums(values=(*SUM_VALUES, special)), parts=st.integers(1, 9), rng=seeds())
def test_no_split_and_no_order_changes_a_bit(s: Sum, parts: int, rng: np.random.Generator) -> None:
    pieces = np.array_split(rng.permutation(s.a.flatten()), parts)
    whole = PartialSum.of(s.a)
    partials = [PartialSum.of(piece) for piece in pieces]
    rng.shuffle(partials)
    left = reduce(add, partials)
    right = reduce(lambda later, one: one + later, partials)
    assert left == right == whole
    assert hash(left) == hash(whole)
    require_same_bits(left.state, whole.state)
    with np.errstate(all="ignore"):
        require_same_bits(left.round(), psum(s.a))


@given(s=sums(), parts=st.integers(1, 9))
def test_states_are_merged_by_any_integer_sum(s: Sum, parts: int) -> None:
    partials = [PartialSum.of(piece) for piece in np.array_split(s.a.ravel(), parts)]
    states = [partial.state for partial in partials]
    for merged in (allreduce(states), np.add.reduce(states), np.add.reduce(states[::-1])):
        total = PartialSum(merged, partials[0].dtype)
        assert total == PartialSum.of(s.a)
        require_same_bits(quiet_round(total), exact_sum(s.a).value)


def test_a_thousand_states() -> None:
    rng = np.random.default_rng(0)
    a = np.ldexp(rng.standard_normal((1000, 50)), rng.integers(-1074, 1000, (1000, 50)))
    states = np.array([PartialSum.of(row).state for row in a])
    total = PartialSum(np.add.reduce(states), a.dtype)
    require_same_bits(total.round(), exact_sum(a).value)
    assert total == PartialSum(allreduce(list(states)), a.dtype) == reduce(add, map(PartialSum.of, a))


def test_as_many_states_as_are_promised() -> None:
    a = np.array([1e290, -5e-324, 0.1, 3e200, -1e-300])
    partial = PartialSum.of(a)
    total = PartialSum(partial.state * 2**31, a.dtype)
    require_same_bits(total.round(), np.ldexp(psum(a), 31))
    assert total == reduce(lambda one, _: one + one, range(31), partial)


def test_additions_without_end() -> None:
    one = PartialSum.of([LARGEST, 1.0, -LARGEST])
    for _ in range(1000):
        one = one + one
    require_same_bits(one.round(), np.float64(2.0**1000))
    with pytest.raises(ValueError, match="beyond 2"):
        reduce(lambda one, _: one + one, range(300), one)


def test_sum_of_partials() -> None:
    pieces = [[1e308, 1.0], [1e308], [-1e308], [-1e308]]
    total = sum(map(PartialSum.of, pieces), start=PartialSum.of([], dtype=float))
    assert total == sum(map(PartialSum.of, pieces))
    require_same_bits(total.round(), np.float64(1.0))


@pytest.mark.parametrize(
    "a", [5, 2.5, 1j, True, [], [[]], np.zeros((3, 0), np.complex64), np.float16(3), [[1, 2], [3, 4]]]
)
def test_what_of_takes(a: Any) -> None:
    require_same_bits(PartialSum.of(a).round(), psum(a))


@pytest.mark.parametrize("dtype", [*SUM_DTYPES, np.dtype(">f8"), "f4", complex], ids=str)
@pytest.mark.parametrize("values", [[0.1, 2.5, 3e4], [True, False], [300, -1, 2]], ids=str)
def test_dtype_casts_each_element_first(values: list[Any], dtype: Any) -> None:
    with np.errstate(all="ignore"):
        partial = PartialSum.of(values, dtype)
        require_same_bits(partial.round(), psum(values, dtype=dtype))
    assert partial.dtype == np.dtype(dtype).newbyteorder("=")


def test_many_elements_are_cast_in_pieces() -> None:
    a = np.random.default_rng(0).standard_normal(700_001)
    require_same_bits(PartialSum.of(a, "float32").round(), psum(a, dtype="float32"))


def test_every_backend(backend: str) -> None:
    a = lay_out(np.random.default_rng(1).standard_normal((70, 300)), "flipped")
    workers = min(2, default_instance(backend).capacity or 2)
    partial = PartialSum.of(a, backend=backend, workers=workers)
    assert partial == PartialSum.of(a)
    require_same_bits(partial.round(), exact_sum(a).value)


# Rounding


@given(st.lists(FINITE, max_size=9), st.sampled_from(FLOATS))
@example([1.0, 2.0**-24, 2.0**-60], "float32")  # to float64 first would give a tie
@example([1.0, 2.0**-11, 2.0**-60], "float16")
def test_a_sum_of_floats_is_rounded_directly(values: list[float], dtype: str) -> None:
    partial = PartialSum.of(np.array(values))
    require_same_bits(quiet_round(partial, dtype), exact_sum(np.array(values), rounded_to=np.dtype(dtype)).value)


def test_a_complex_sum_is_rounded_directly() -> None:
    partial = PartialSum.of(np.array([1, 2.0**-24, 2.0**-60]) * (1 + 2j))
    require_same_bits(partial.round("complex64"), np.complex64(1.0000001 + 2.0000002j))
    require_same_bits(partial.round(), np.complex128((1 + 2.0**-24) * (1 + 2j)))


def test_integers_wrap_around() -> None:
    partial = PartialSum.of([2**62, 2**62, 2**62, 2**62, 300])
    require_same_bits(partial.round(), np.int64(300))
    require_same_bits(partial.round("uint8"), np.uint8(44))
    require_same_bits(partial.round(bool), np.True_)
    require_same_bits((PartialSum.of([-1]) + PartialSum.of([-2])).round("uint64"), np.uint64(2**64 - 3))


def test_overflow_and_invalid_are_reported_as_numpy_does() -> None:
    for values, word in (([LARGEST, LARGEST], "overflow"), ([np.inf, -np.inf], "invalid value")):
        partial = PartialSum.of(values)
        with pytest.raises(FloatingPointError, match=word), np.errstate(all="raise"):
            partial.round()
        with pytest.warns(RuntimeWarning, match=word):
            partial.round()
        repr(partial)  # says nothing


# The value


@pytest.mark.parametrize(
    ("dtype", "length"), [(dtype, {"f": 73, "c": 146}.get(dtype.kind, 1)) for dtype in SUM_DTYPES], ids=str
)
def test_the_layout_of_states(dtype: np.dtype, length: int) -> None:
    partial = PartialSum.of(np.ones(3, dtype), dtype)
    assert (partial.state.shape, partial.state.dtype) == ((length,), np.dtype(np.int64))
    assert not partial.state.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        partial.state.flags.writeable = True
    assert PartialSum.version == 1


def test_the_digits_of_a_state() -> None:
    finite, others = np.array([1.5, -(2.0**-1074)]), np.array([np.nan, np.inf, np.inf, -np.inf])
    state = PartialSum.of([*finite, *others]).state
    assert state[70:].tolist() == [1, 2, 1]
    assert sum(int(digit) << (32 * j) for j, digit in enumerate(state[:70])) == 3 * 2**1087 - 2**14
    parts = PartialSum.of(finite * 1j).state.reshape(2, 73)
    assert parts[0].tolist() == [0] * 73
    assert parts[1].tolist() == PartialSum.of(finite).state.tolist()


def test_a_state_is_copied() -> None:
    partial = PartialSum(state := PartialSum.of([1.0]).state.copy(), float)
    state[:] = 0
    require_same_bits(partial.round(), np.float64(1.0))


@given(st.lists(st.integers(2**32 - 2**62, 2**62 - 2**32), min_size=70, max_size=70))
def test_a_state_is_normalised(digits: list[int]) -> None:
    partial = PartialSum([*digits, 0, 0, 0], "float64")
    normal = partial.state.tolist()
    assert all(-(2**31) <= digit < 2**31 for digit in normal[:69])
    assert sum(one - other << (32 * j) for j, (one, other) in enumerate(zip(digits, normal, strict=False))) == 0
    assert PartialSum(normal, "float64") == partial


def test_byte_order_and_strides_of_a_state() -> None:
    partial = PartialSum.of([0.1, -3e200])
    for layout in ("byte-swapped", "sliced", "flipped", "unaligned"):
        assert PartialSum(lay_out(partial.state, layout), ">f8") == partial


def test_equality_is_by_value_and_dtype() -> None:
    one = PartialSum.of([1.0, 2.0])
    assert one == PartialSum.of([3.0]) == PartialSum.of([-0.0, 1e300, 3.0, -1e300])
    assert len({one, PartialSum.of([3.0])}) == 1
    assert one != PartialSum.of([3.0, 1e-300])
    assert one != PartialSum.of(np.array([3], np.float32))
    assert one != PartialSum.of([np.nan])
    assert one != 3.0


def test_addition_promotes() -> None:
    half, double = PartialSum.of(np.array([1], np.float16)), PartialSum.of([2.0**-30])
    assert (half + double).dtype == (double + half).dtype == np.float64
    require_same_bits((half + double).round(), np.float64(1 + 2.0**-30))
    assert (PartialSum.of([1], "int8") + PartialSum.of([1], "uint8")).dtype == np.int16
    assert (PartialSum.of(np.array([1], np.complex64)) + PartialSum.of([1j])).round() == 1 + 1j


def test_repr() -> None:
    assert repr(PartialSum.of([0.1] * 10)) == "<PartialSum 1.0, float64>"
    assert repr(PartialSum.of([np.inf, -np.inf])) == "<PartialSum nan, float64>"
    assert repr(PartialSum.of([1, 2])) == "<PartialSum 3, int64>"


def test_it_cannot_be_changed() -> None:
    partial = PartialSum.of([1.0])
    for name in ("state", "dtype", "other"):
        with pytest.raises(AttributeError):
            setattr(partial, name, 1)


# Pickles


@given(s=sums(values=(*SUM_VALUES, special)), protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_pickles(s: Sum, protocol: int) -> None:
    partial = PartialSum.of(s.a)
    for copy in (pickle.loads(pickle.dumps(partial, protocol)), deepcopy(partial)):
        assert copy == partial
        require_same_bits(copy.state, partial.state)


def test_a_pickle_has_one_size() -> None:
    sizes = {len(pickle.dumps(PartialSum.of(values))) for values in ([], [0.1], np.ldexp(1.0, np.arange(-1074, 1023)))}
    assert len(sizes) == 1


def test_pickles_travel_between_processes() -> None:
    a = np.random.default_rng(2).standard_normal(999)
    code = (
        "import pickle, sys, parlinalg; total = pickle.load(sys.stdin.buffer); "
        "sys.stdout.buffer.write(pickle.dumps(total + parlinalg.PartialSum.of([1e300, 0.1])))"
    )
    sent = pickle.dumps(PartialSum.of(a))
    done = subprocess.run(
        [sys.executable, "-c", code], input=sent, capture_output=True, check=True, timeout=60, cwd=ROOT
    )
    require_same_bits((pickle.loads(done.stdout) + PartialSum.of([-1e300])).round(), exact_sum(np.append(a, 0.1)).value)


def test_a_pickle_of_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartialSum, "version", 2)
    later = pickle.dumps(PartialSum.of([1.0]))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="layout version 2; this parlinalg reads version 1"):
        pickle.loads(later)


# Errors

STATE = PartialSum.of([1.0]).state


@pytest.mark.parametrize(
    ("a", "options", "words"),
    [
        (np.longdouble(1), {}, ["PartialSum.of: a is", "differs between platforms"]),
        ([1.0], {"dtype": np.longdouble}, ["PartialSum.of: dtype is", "differs between platforms"]),
        ([1.0], {"dtype": np.clongdouble}, ["PartialSum.of: dtype is"]),
        ([1.0], {"dtype": "datetime64[s]"}, ["PartialSum.of: dtype=datetime64[s] is not numeric"]),
        ([1.0], {"dtype": "nonsense"}, ["PartialSum.of: dtype is 'nonsense'", "no dtype of NumPy"]),
        (np.ma.masked_equal([1, 2], 2), {}, ["PartialSum.of: a is a masked array", "a.filled(0)"]),
        (["a"], {}, ["PartialSum.of: a has dtype <U1"]),
        ([1, "a", None], {}, ["PartialSum.of: a is a list that becomes an object array"]),
        (np.array([1], object), {}, ["PartialSum.of: a has dtype object"]),
        (None, {}, ["PartialSum.of: a is a NoneType"]),
    ],
    ids=str,
)
def test_what_of_refuses(a: Any, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(TypeError) as raised:
        PartialSum.of(a, **options)
    assert [word for word in words if word not in str(raised.value)] == []


def test_backends_and_workers_are_checked() -> None:
    with pytest.raises(parlinalg.BackendUnavailable):
        PartialSum.of([1.0], backend="toy-absent")
    with pytest.raises(ValueError, match="workers"):
        PartialSum.of([1.0], workers=0)
    with pytest.raises(ValueError, match="cannot be made an array"):
        PartialSum.of([[1.0], [1.0, 2.0]])


@pytest.mark.parametrize(
    ("state", "dtype", "error", "text"),
    [
        (STATE.astype(float), float, TypeError, "state has dtype float64; it must be int64"),
        (STATE.astype(np.uint64), float, TypeError, "state has dtype uint64"),
        (None, float, TypeError, "state is a NoneType"),
        (STATE, np.longdouble, TypeError, "PartialSum: dtype is .* differs between platforms"),
        (STATE, object, TypeError, "PartialSum: dtype=object is not numeric"),
        (STATE, "nonsense", TypeError, "PartialSum: dtype is 'nonsense'"),
        (STATE, None, TypeError, "PartialSum: dtype is None; pass that of the sum"),
        (STATE, complex, ValueError, r"shape \(73,\); that of a sum of complex128 has shape \(146,\)"),
        (STATE, int, ValueError, r"that of a sum of int64 has shape \(1,\)"),
        (STATE[:72], "float16", ValueError, r"shape \(72,\); that of a sum of float16 has shape \(73,\)"),
        (STATE[np.newaxis], float, ValueError, r"shape \(1, 73\)"),
        ([*STATE[:71], -1, 0], float, ValueError, r"counts \[0, -1, 0\] NaN"),
        ([*STATE, *STATE[:72], -2], complex, ValueError, r"counts \[0, 0, -2\] NaN"),
        ([2**62 + 1, *STATE[1:]], float, ValueError, "more than 2\\*\\*31 states"),
        ([*STATE[:69], -(2**63), 0, 0, 0], float, ValueError, "more than 2\\*\\*31 states"),
        ([*STATE[:68], 2**62, 2**62, 0, 0, 0], float, ValueError, "more than 2\\*\\*31 states"),  # by a carry
    ],
)
def test_what_the_constructor_refuses(state: Any, dtype: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^PartialSum: .*{text.removeprefix('PartialSum: ')}"):
        PartialSum(state, dtype)


@pytest.mark.parametrize(
    ("values", "dtype", "text"),
    [
        ([1.0], int, "dtype is int64; a sum of float64 is rounded to float16, float32 and float64"),
        ([1.0], complex, "dtype is complex128; a sum of float64"),
        ([1j], float, "dtype is float64; a sum of complex128 is rounded to complex64 and complex128"),
        ([1], float, "dtype is float64; a sum of int64 is rounded to integers and bool"),
        ([1.0], np.longdouble, "dtype is .* differs between platforms"),
        ([1.0], "nonsense", "dtype is 'nonsense'"),
    ],
)
def test_what_round_refuses(values: list[Any], dtype: Any, text: str) -> None:
    with pytest.raises(TypeError, match=f"^PartialSum.round: {text}"):
        PartialSum.of(values).round(dtype)


@pytest.mark.parametrize(
    ("one", "other", "remedy"),
    [
        ([1], [1.0], "float64"),
        ([True], np.array([1], np.float32), "float64"),
        ([1.0], [1j], "complex128"),
        ([1], np.array([1], np.uint64), "float64"),
    ],
)
def test_sums_without_a_common_state(one: Any, other: Any, remedy: str) -> None:
    first, second = PartialSum.of(one), PartialSum.of(other)
    for a, b in ((first, second), (second, first)):
        with pytest.raises(TypeError, match=rf"cannot be added.*PartialSum\.of\(a, dtype='{remedy}'\)"):
            a + b
    again = PartialSum.of(one, dtype=remedy) + PartialSum.of(other, dtype=remedy)
    require_same_bits(again.round(), psum([*one, *other], dtype=remedy))


@pytest.mark.parametrize(
    "other", [0, 1, 0.0, False, None, "a", np.int64(0), np.zeros(3), [PartialSum.of([1.0])]], ids=str
)
def test_nothing_else_is_added(other: Any) -> None:
    partial = PartialSum.of([1.0])
    with pytest.raises(TypeError):
        partial + other
    if type(other) is not int or other != 0:
        with pytest.raises(TypeError):
            other + partial
