"""Deformable convolutions: onnx's node tests, a plain convolution beside them, gradients."""

from typing import Any

import pytest
import torch

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample


@pytest.mark.parametrize("case", cases(["DeformConv"]))
def test_node(case: Any) -> None:
    run_case(case)


def test_without_offsets_it_is_a_convolution() -> None:
    x, w, b = sample(2, 4, 6, 5), sample(6, 2, 3, 2, seed=1), sample(6, seed=2)
    settings = {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}
    expected = apply("Conv", x, w, b, **settings)
    still = torch.zeros(2, 2 * 6 * 2, *expected.shape[2:])
    found = apply("DeformConv", x, w, still, b, offset_group=2, **settings)
    torch.testing.assert_close(found, expected)


def test_gradients() -> None:
    x, w = sample(1, 2, 4, 4), sample(1, 2, 2, 2, seed=1)
    offset, mask = sample(1, 8, 3, 3, seed=2, low=0.1, high=0.4), sample(1, 4, 3, 3, seed=3)
    gradients_hold("DeformConv", x, w, offset, sample(1, seed=4), mask)


def test_other_ranks_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="only computed over two dimensions"):
        apply("DeformConv", sample(1, 1, 3), sample(1, 1, 2), sample(1, 4, 2))
