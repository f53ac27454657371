"""Losses that are part of a graph."""

import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.reimport.registry import operator

NO_CLASS = -(2**62)
"""A label to ignore where none is named."""


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Average what the right classes' log probabilities lack."""
    ignored = NO_CLASS if ignore_index is None else ignore_index
    return F.nll_loss(
        x, target.to(x.device, torch.int64), weight, ignore_index=ignored, reduction=reduction
    )


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(
    scores: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    """Compute the loss of scores and, if asked for, their log probabilities."""
    logarithms = torch.log_softmax(scores, 1)
    loss = negative_log_likelihood(
        logarithms, labels, weights, ignore_index=ignore_index, reduction=reduction
    )
    return loss if outputs == 1 else (loss, logarithms)
