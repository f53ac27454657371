"""Sizes and paddings of windows, by hand."""

import pytest
import torch

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.operators.windows import Window, pad, window


def test_the_same_size_is_padded_for_at_either_end() -> None:
    upper = window("Conv", [5, 6], [2, 3], auto_pad="SAME_UPPER", strides=[1, 2])
    assert (upper.begins, upper.ends) == ([0, 0], [1, 1])
    lower = window("Conv", [5, 6], [2, 3], auto_pad="SAME_LOWER", strides=[1, 2])
    assert (lower.begins, lower.ends) == ([1, 1], [0, 0])
    # Two taps at a distance of two reach over three values.
    wide = window("Conv", [5], [2], auto_pad="SAME_UPPER", dilations=[2])
    assert (wide.spans, wide.begins, wide.ends) == ([3], [1], [1])


@pytest.mark.parametrize(
    ("size", "place", "floor", "ceil"),
    [
        (7, Window([3], [2], [1], [0], [0]), 3, 3),
        (8, Window([3], [2], [1], [0], [0]), 3, 4),
        # A third window would begin at 4, in the padding behind 4 values.
        (4, Window([2], [2], [1], [0], [1]), 2, 2),
    ],
)
def test_windows_are_counted(size: int, place: Window, floor: int, ceil: int) -> None:
    assert place.counts([size], ceil=False) == [floor]
    assert place.counts([size], ceil=True) == [ceil]


def test_the_last_window_may_reach_over_the_end() -> None:
    place = Window([3], [2], [1], [0], [0])
    assert place.overhang([8], ceil=False) == [0]
    assert place.overhang([8], ceil=True) == [1]


def test_a_negative_padding_cuts() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert pad(x, [-1], [1], 9.0).tolist() == [[2, 3, 9]]
    assert pad(x, [0], [0]) is x


def test_what_is_no_window_is_refused() -> None:
    with pytest.raises(UnsupportedError) as found:
        window("MaxPool", [], [])
    assert found.value.message == "MaxPool over 0 dimensions cannot be computed with gradients"
    with pytest.raises(UnsupportedError) as found:
        window("MaxPool", [3], [2], auto_pad="SOME")
    assert found.value.message == "MaxPool has no auto_pad 'SOME'"
