"""Losses: onnx's node tests, ONNX Runtime beside them, and gradients."""

from typing import Any

import pytest
import torch

from tests.reimport.nodes import (
    apply,
    cases,
    gradients_hold,
    run_case,
    same_as_runtime,
    sample,
)

NAMES = ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"]


@pytest.mark.parametrize("case", cases(NAMES))
def test_node(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_a_loss_is_that_of_the_runtime(reduction: str) -> None:
    scores, labels = sample(3, 4, 2), torch.tensor([[0, 3], [1, 1], [2, 0]], dtype=torch.int32)
    weights = sample(4, seed=1, low=0.5)
    settings = {"reduction": reduction, "ignore_index": 1}
    same_as_runtime("SoftmaxCrossEntropyLoss", scores, labels, weights, **settings, opset=13)
    same_as_runtime("SoftmaxCrossEntropyLoss", scores, labels, outputs=2, opset=13)
    logarithms = apply("LogSoftmax", scores, axis=1)
    same_as_runtime(
        "NegativeLogLikelihoodLoss", logarithms, labels, weights, **settings, opset=13
    )


def test_gradients() -> None:
    scores, labels = sample(3, 4), torch.tensor([0, 3, 1])
    gradients_hold("SoftmaxCrossEntropyLoss", scores, labels, twice=True)
    gradients_hold("NegativeLogLikelihoodLoss", scores, labels, twice=True)
