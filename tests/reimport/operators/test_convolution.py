"""Convolutions: onnx's node tests, ONNX Runtime beside them, and gradients."""

from typing import Any

import pytest
import torch

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import (
    apply,
    cases,
    gradients_hold,
    run_case,
    same_as_runtime,
    sample,
)


@pytest.mark.parametrize("case", cases(["Conv", "ConvTranspose", "Col2Im"]))
def test_node(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize(
    ("sizes", "kernel", "settings"),
    [
        ([7], [3], {}),
        ([7], [3], {"pads": [2, 0]}),
        ([7, 6], [2, 3], {"strides": [2, 1], "pads": [1, 1, 1, 1]}),
        ([7, 6], [2, 3], {"pads": [0, 2, 1, 0]}),
        ([7, 6], [3, 2], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ([7, 6], [3, 2], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ([7, 6], [3, 2], {"auto_pad": "VALID", "strides": [2, 1]}),
        ([5, 4, 6], [2, 2, 3], {"dilations": [2, 1, 2], "pads": [1, 0, 2, 1, 0, 2]}),
    ],
)
@pytest.mark.parametrize("group", [1, 2])
def test_conv_is_that_of_the_runtime(
    sizes: list[int], kernel: list[int], settings: dict[str, Any], group: int
) -> None:
    x, w = sample(2, 4, *sizes), sample(6, 4 // group, *kernel, seed=1)
    same_as_runtime("Conv", x, w, sample(6, seed=2), group=group, **settings)
    same_as_runtime("Conv", x, w, group=group, kernel_shape=kernel, **settings)


@pytest.mark.parametrize(
    ("sizes", "kernel", "settings"),
    [
        ([5], [3], {"strides": [2]}),
        ([5], [3], {"strides": [3], "pads": [0, 1], "output_padding": [2]}),
        ([5, 4], [3, 3], {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        ([5, 4], [3, 2], {"pads": [2, 0, 0, 1], "dilations": [2, 1]}),
        ([5, 4], [3, 3], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ([5, 4], [3, 3], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ([5, 4], [3, 3], {"strides": [2, 3], "output_shape": [9, 11]}),
        ([5, 4], [3, 3], {"strides": [2, 2], "output_shape": [10, 9]}),
        (
            [5, 4],
            [3, 3],
            {"strides": [2, 2], "output_shape": [10, 8], "auto_pad": "SAME_UPPER"},
        ),
        ([3, 4, 2], [2, 3, 2], {"strides": [2, 1, 1], "pads": [0, 1, 1, 1, 0, 0]}),
    ],
)
@pytest.mark.parametrize("group", [1, 2])
def test_transposed_conv_is_that_of_the_runtime(
    sizes: list[int], kernel: list[int], settings: dict[str, Any], group: int
) -> None:
    x, w = sample(2, 4, *sizes), sample(4, 3, *kernel, seed=1)
    same_as_runtime("ConvTranspose", x, w, sample(3 * group, seed=2), group=group, **settings)
    same_as_runtime("ConvTranspose", x, w, group=group, **settings)


def test_a_transposed_conv_may_be_larger_than_its_kernel_reaches() -> None:
    x, w, b = torch.ones(1, 1, 2), torch.ones(1, 1, 1), torch.tensor([0.5])
    y = apply("ConvTranspose", x, w, b, output_shape=[4])
    assert y.tolist() == [[[1.5, 1.5, 0.5, 0.5]]]


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 0, 2]])
def test_gradients_of_conv(pads: list[int]) -> None:
    x, w, b = sample(1, 2, 4, 3), sample(2, 1, 2, 2, seed=1), sample(2, seed=2)
    gradients_hold("Conv", x, w, b, group=2, pads=pads, twice=True)
    gradients_hold("ConvTranspose", x, w, b, group=2, pads=pads, twice=True)


def test_gradients_of_col2im() -> None:
    image, block = torch.tensor([3, 3]), torch.tensor([2, 2])
    gradients_hold("Col2Im", sample(1, 8, 4), image, block)


def test_what_cannot_be_convolved_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="Conv over 4 dimensions") as found:
        apply("Conv", sample(1, 1, 2, 2, 2, 2), sample(1, 1, 1, 1, 1, 1))
    assert found.value.message == "Conv over 4 dimensions cannot be computed with gradients"
    with pytest.raises(UnsupportedError, match="Conv has no auto_pad 'SAME'"):
        apply("Conv", sample(1, 1, 3), sample(1, 1, 2), auto_pad="SAME")
    with pytest.raises(UnsupportedError, match=r"kernel of \[2\]; kernel_shape says \[3\]"):
        apply("Conv", sample(1, 1, 3), sample(1, 1, 2), kernel_shape=[3])
    with pytest.raises(UnsupportedError, match=r"kernel of \[2\]; kernel_shape says \[3\]"):
        apply("ConvTranspose", sample(1, 1, 3), sample(1, 1, 2), kernel_shape=[3])


def test_a_padding_that_runtimes_disagree_on_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="means different things") as found:
        apply(
            "ConvTranspose",
            sample(1, 1, 3),
            sample(1, 1, 1),
            strides=[3],
            auto_pad="SAME_UPPER",
        )
    assert found.value.message == (
        "ConvTranspose with auto_pad SAME_UPPER and a kernel shorter than its strides "
        "means different things to different runtimes"
    )
