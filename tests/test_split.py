"""Every row belongs to exactly one worker, and no worker has more than one row more than another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlinalg.split import blocks, ends, split_axis

LENGTHS = st.integers(0, 200) | st.integers(2**31 - 2, 2**40)
PARTS = st.integers(1, 40)


@given(n=LENGTHS, parts=PARTS)
def test_blocks_cover_everything_once(n: int, parts: int) -> None:
    found = blocks(n, parts)
    assert len(found) == parts
    assert found[0].start == 0
    assert found[-1].stop == n
    assert all(left.stop == right.start for left, right in zip(found, found[1:], strict=False))


@given(n=LENGTHS, parts=PARTS)
def test_blocks_differ_by_at_most_one_and_longer_ones_come_first(n: int, parts: int) -> None:
    lengths = [block.stop - block.start for block in blocks(n, parts)]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("parts", "lengths"), [(2, [4, 3]), (3, [3, 2, 2]), (5, [2, 2, 1, 1, 1]), (9, [1, 1, 1, 1, 1, 1, 1, 0, 0])]
)
def test_blocks_of_seven(parts: int, lengths: list[int]) -> None:
    assert [len(block) for block in blocks(7, parts)] == lengths


def test_ends_cannot_be_changed_by_one_of_those_who_share_them() -> None:
    assert ends(7, 3).tolist() == [0, 3, 5, 7]
    with pytest.raises(ValueError, match="read-only"):
        ends(7, 3)[0] = 1


@pytest.mark.parametrize(
    ("lengths", "workers", "axis"),
    [((1, 1000, 4), 2, 1), ((1, 4, 1_000_000), 2, 2), ((1, 3, 2), 1, 1), ((16, 1000), 2, 0), ((15, 1000), 2, 1)],
)
def test_split_axis(lengths: tuple[int, ...], workers: int, axis: int) -> None:
    assert split_axis(lengths, workers) == axis


@pytest.mark.parametrize(
    ("lengths", "strides", "kept", "axis"),
    [((99, 99), (8, 800), 0, 1), ((99, 99), (8, -800), 0, 1), ((99, 99), (800, 8), 0, 0), ((99, 99), (8, 800), 1, 0),
     ((3, 99, 99), (8, 24, 2400), 1, 2), ((99, 3), (8, 800), 0, 0)],
)  # fmt: skip
def test_split_axis_by_strides(lengths: tuple[int, ...], strides: tuple[int, ...], kept: int, axis: int) -> None:
    assert split_axis(lengths, 2, strides, kept) == axis


@given(lengths=st.lists(st.integers(0, 10**7), min_size=1, max_size=4), workers=PARTS)
def test_split_axis_leaves_no_worker_idle_that_another_axis_would_feed(lengths: list[int], workers: int) -> None:
    length = lengths[split_axis(tuple(lengths), workers)]
    assert length >= 8 * workers or length == max(lengths)
