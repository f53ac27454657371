"""Normalisations: onnx's node tests, ONNX Runtime beside them, and gradients."""

from typing import Any

import pytest
import torch

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.operators.normalisation import batch_statistics
from tests.reimport.nodes import (
    apply,
    cases,
    gradients_hold,
    run_case,
    same_as_runtime,
    sample,
)

NAMES = [
    "BatchNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "LRN",
    "LpNormalization",
    "MeanVarianceNormalization",
]


@pytest.mark.parametrize("case", cases(NAMES))
def test_node(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("shape", [[4, 3], [4, 3, 2], [4, 3, 2, 2], [2, 3, 2, 2, 2]])
@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_batch_normalization_uses_the_stored_statistics(shape: list[int], opset: int) -> None:
    statistics = sample(3, seed=1), sample(3, seed=2), sample(3, seed=3)
    variance = sample(3, seed=4, low=0.5)
    same_as_runtime("BatchNormalization", sample(*shape), *statistics, variance, opset=opset)


def test_batch_normalization_may_use_the_statistics_of_the_batch() -> None:
    x, one, zero = torch.tensor([[1.0], [3.0]]), torch.ones(1), torch.zeros(1)
    settings = {"epsilon": 1e-12, "opset": 15}
    assert apply("BatchNormalization", x, one, zero, zero, one, **settings).tolist() == [
        [1],
        [3],
    ]
    with batch_statistics():
        found = apply("BatchNormalization", x, one, zero, zero, one, **settings)
    assert found.tolist() == [[-1], [1]]


def test_training_mode_uses_them_and_moves_the_stored_ones() -> None:
    x, one, zero = torch.tensor([[1.0], [3.0]]), torch.ones(1), torch.zeros(1)
    settings = {"epsilon": 1e-12, "momentum": 0.75, "training_mode": 1, "opset": 15}
    found = apply("BatchNormalization", x, one, zero, zero, one, outputs=3, **settings)
    assert [each.tolist() for each in found] == [[[-1], [1]], [0.5], [1]]
    alone = apply("BatchNormalization", x, one, zero, zero, one, **settings)
    assert torch.equal(alone, found[0])


def test_stored_statistics_get_no_gradient() -> None:
    stored = [torch.ones(1, requires_grad=True) for _ in range(4)]
    apply("BatchNormalization", torch.ones(2, 1), *stored).sum().backward()
    assert [each.grad is None for each in stored] == [False, False, True, True]


def test_statistics_may_be_of_every_place() -> None:
    x = torch.tensor([[[3.0, 4.0]]])
    scale, shift = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.0, 5.0]])
    mean, variance = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 1.0]])
    stored = scale, shift, mean, variance
    found = apply("BatchNormalization", x, *stored, spatial=0, epsilon=0.0, opset=7)
    assert found.tolist() == [[[2, 7]]]


@pytest.mark.parametrize(("opset", "outputs"), [(6, 1), (9, 5)])
def test_training_of_old_versions_is_refused(opset: int, outputs: int) -> None:
    with pytest.raises(UnsupportedError) as found:
        apply("BatchNormalization", *[torch.ones(1)] * 5, opset=opset, outputs=outputs)
    assert found.value.message == f"BatchNormalization of opset {opset} in training mode"


@pytest.mark.parametrize("axis", [1, -1])
def test_layer_normalization_is_that_of_the_runtime(axis: int) -> None:
    x = sample(2, 3, 4)
    shape = x.shape[axis:]
    scale, shift = sample(*shape, seed=1), sample(*shape, seed=2)
    same_as_runtime("LayerNormalization", x, scale, shift, axis=axis, outputs=3)
    same_as_runtime("LayerNormalization", x, scale, axis=axis, outputs=2)
    same_as_runtime("SimplifiedLayerNormalization", x, scale, axis=axis, outputs=2)
    same_as_runtime("SimplifiedLayerNormalization", x, scale, axis=axis)
    # The scale may also be one that broadcasts.
    expected = apply("LayerNormalization", x, scale, shift, axis=axis)
    found = apply("LayerNormalization", x, scale[None], shift[None], axis=axis)
    torch.testing.assert_close(found, expected)
    found = apply("RMSNormalization", x, scale[None], axis=axis)
    torch.testing.assert_close(found, apply("RMSNormalization", x, scale, axis=axis))


@pytest.mark.parametrize("shape", [[2, 4, 3], [2, 4, 3, 2], [1, 4, 1, 1]])
def test_normalization_of_groups_is_that_of_the_runtime(shape: list[int]) -> None:
    x, four = sample(*shape), (sample(4, seed=1), sample(4, seed=2))
    same_as_runtime("InstanceNormalization", x, *four)
    same_as_runtime("GroupNormalization", x, *four, num_groups=2, opset=21)
    two = sample(2, seed=1), sample(2, seed=2)
    same_as_runtime("GroupNormalization", x, *two, num_groups=2, opset=18)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_lrn_is_that_of_the_runtime(size: int) -> None:
    settings = {"size": size, "alpha": 0.5, "beta": 0.6, "bias": 2.0}
    if size % 2:  # the runtime refuses the others
        same_as_runtime("LRN", sample(2, 5, 3, 2), **settings)
    x = torch.ones(1, 3, 1)
    reach = [
        [n for n in range(3) if -((size - 1) // 2) <= n - c <= size // 2] for c in range(3)
    ]
    expected = [(2 + 0.5 / size * len(each)) ** -0.6 for each in reach]
    torch.testing.assert_close(apply("LRN", x, **settings).flatten(), torch.tensor(expected))


@pytest.mark.parametrize("p", [1, 2])
def test_zeros_have_no_norm_to_divide_by(p: int) -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    y = apply("LpNormalization", x, p=p)
    assert y[0].tolist() == [0, 0]
    same_as_runtime("LpNormalization", sample(3, 4), p=p, axis=0)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_mean_and_variance_are_those_of_the_runtime() -> None:
    same_as_runtime("MeanVarianceNormalization", sample(2, 3, 4, 2))
    same_as_runtime("MeanVarianceNormalization", sample(2, 3, 4), axes=[2])


def test_gradients() -> None:
    x, both = sample(2, 2, 3), (sample(2, seed=1), sample(2, seed=2))
    stored = sample(2, seed=3), sample(2, seed=4, low=0.5)
    for training in (0, 1):
        settings = {"training_mode": training, "fixed": [3, 4]}
        gradients_hold("BatchNormalization", x, *both, *stored, **settings, twice=True)
    gradients_hold("InstanceNormalization", x, *both, twice=True)
    gradients_hold("GroupNormalization", x, *both, num_groups=1, twice=True)
    last = sample(3, seed=1), sample(3, seed=2)
    gradients_hold("LayerNormalization", x, *last, twice=True)
    gradients_hold("LayerNormalization", x, *last, outputs=3, output=1)
    gradients_hold("LayerNormalization", x, *last, outputs=3, output=2)
    gradients_hold("RMSNormalization", x, last[0], twice=True)
    gradients_hold("SimplifiedLayerNormalization", x, last[0], twice=True)
    gradients_hold("LRN", x, size=3, alpha=0.5, twice=True)
    gradients_hold("LpNormalization", x, twice=True)
    gradients_hold("MeanVarianceNormalization", x, axes=[0, 2], twice=True)
