"""Sums of integers and bool are NumPy's, however the elements lie, and overflow nowhere on the way."""

from __future__ import annotations

import numpy as np
import pytest

from parlinalg import psum

NATIVE = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
DTYPES = [*NATIVE, ">i2", ">u2", ">i4", ">u4", ">i8", ">u8"]
COLUMNS = [1, 2, 3, 7, 16, 31, 63, 64, 65, 127, 129, 1024, 1025]


def extremes(dtype: str) -> list[int]:
    if dtype == "?":
        return [1]
    info = np.iinfo(dtype)
    return [int(info.min), int(info.max)]


def random_elements(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Of which no two rows, and no two columns, are alike; they begin at an odd address."""
    rng = np.random.default_rng(len(shape))
    room = np.empty(int(np.prod(shape)) * np.dtype(dtype).itemsize + 1, np.uint8)
    a = room[1:].view(dtype).reshape(shape)
    if dtype == "?":
        a[...] = rng.random(shape) < 0.5
    else:
        low, high = extremes(dtype)
        a[...] = rng.integers(low, high, shape, np.dtype(dtype).newbyteorder("="), endpoint=True)
    return a


def require_numpy(a: np.ndarray, axis: int | tuple[int, ...] | None) -> None:
    for keepdims in (False, True):
        total, expected = psum(a, axis, keepdims=keepdims, workers=1), np.sum(a, axis, keepdims=keepdims)
        assert total.dtype == expected.dtype
        np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize("columns", [1, 2, 7, 64, 1025])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_extremes_overflow_no_lane(dtype: str, columns: int) -> None:
    rows = (1 << 18) // columns + 3
    for value in extremes(dtype):
        a = np.full((rows, columns), value, dtype)
        for part in (a, a[:, ::2], a[:, :-1], np.asfortranarray(a)):
            expected = [(value * rows) % 2**64] * part.shape[1]
            assert [int(s) % 2**64 for s in psum(part, 0, workers=1)] == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_long_run_of_extremes_overflows_no_lane(dtype: str) -> None:
    n = (1 << 20) + 77
    for value in extremes(dtype):
        assert int(psum(np.full(n, value, dtype), workers=1)) % 2**64 == value * n % 2**64


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_any_length_are_added_to_their_own_sums(dtype: str, columns: int) -> None:
    for rows in (1, 3, 4, 5, 129, 1030 if columns < 200 else 7):
        a = random_elements((rows, columns), dtype)
        for part in (a, a.copy(), a[:, :-1], a[:, ::2], a[::2], a[::-1, ::-1], a.T, np.broadcast_to(a[:1], a.shape)):
            for axis in (0, 1, None):
                require_numpy(part, axis)


@pytest.mark.parametrize("axes", [0, 1, 2, 3, (0, 1), (0, 2), (1, 3), (0, 3, 2), (1, 2, 3), None])
@pytest.mark.parametrize("shape", [(2, 3, 17, 24), (14, 18, 3, 4), (70, 2, 30, 3), (3, 5, 7, 66)])
@pytest.mark.parametrize("dtype", ["?", "i1", "u2", ">i2", "i4", "u8"])
def test_axes_in_any_order(dtype: str, shape: tuple[int, ...], axes: int | tuple[int, ...] | None) -> None:
    a = random_elements(shape, dtype)
    for part in (a, a.transpose(2, 3, 1, 0), np.asfortranarray(a), a[:, :, ::2, 1:], a[..., :1]):
        require_numpy(part, axes)


def test_bytes_other_than_1_are_true() -> None:
    a = np.arange(256 * 40, dtype=np.uint16).astype(np.uint8).reshape(40, 256)
    for part in (a, a[:, :3], a[:, ::2]):
        for axis in (0, 1, None):
            np.testing.assert_array_equal(psum(part.view(bool), axis), np.sum(part != 0, axis))
