"""Axes of one shape matched to those of another."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from onnxprune.structure.operators.blocks import Sizes, find_blocks


@pytest.mark.parametrize(
    ("old", "new", "blocks"),
    [
        ([4, 6], [4, 6], [((0, 1), (0, 1)), ((1, 2), (1, 2))]),
        ([4, 3, 2], [4, 6], [((0, 1), (0, 1)), ((1, 3), (1, 2))]),
        ([None, 8], [None, 2, 4], [((1, 2), (1, 3))]),
        ([None, 4, 3, 3], [None, 36], [((1, 4), (1, 2))]),
        ([None, 5, None], [None, 5, None], []),
        ([12, 1, 1], [12], [((0, 1), (0, 1))]),
        ([6], [1, 6], [((0, 1), (0, 2))]),
        ([0, 4], [4, 0], []),
    ],
)
def test_what_is_known_is_matched(old: Sizes, new: Sizes, blocks: object) -> None:
    assert find_blocks(old, new, {}) == blocks


def test_an_axis_that_stays_is_matched_without_its_size() -> None:
    assert find_blocks([None, 4, None], [None, 4, None], {0: 0}) == [
        ((0, 1), (0, 1)),
        ((1, 2), (1, 2)),
    ]
    assert find_blocks([3, None], [3, None], {1: 1}) == [((0, 1), (0, 1)), ((1, 2), (1, 2))]


@given(some.lists(some.integers(1, 6), min_size=1, max_size=5), some.data())
def test_blocks_hold_the_same_elements(old: list[int], data: some.DataObject) -> None:
    total, new = math.prod(old), []
    while total > 1:
        size = data.draw(some.sampled_from([n for n in range(2, total + 1) if total % n == 0]))
        new.append(size)
        total //= size
    at = to = 0
    for (low, high), (first, last) in find_blocks([*old], [*new], {}):
        # Only ones may be left out between blocks.
        assert math.prod(old[at:low]) == math.prod(new[to:first]) == 1
        assert math.prod(old[low:high]) == math.prod(new[first:last])
        at, to = high, last
    assert math.prod(old[at:]) == math.prod(new[to:]) == 1
