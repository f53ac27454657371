"""Gradients of the mean loss, and what the loss's Hessian makes of them."""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from onnxprune.statistics.feeding import Fed
from onnxprune.statistics.measurement import Measurement, Tensors
from onnxprune.statistics.ranks import Part

TEMPERATURE = 200.0
"""What scores are divided by for GraSP, so that the loss is near that of a model that guesses."""


def gradient(measurement: Measurement) -> Tensors:
    """Return the mean over samples of the loss's gradient, with its sign."""

    def add_up(fed: Fed) -> Part:
        leaves = measurement.leaves()
        loss = measurement.loss.mean(measurement.outputs(fed.feeds, leaves), fed)
        return _part(fed, loss, _differentiate(loss, leaves))

    return measurement.mean(add_up)


def hessian_gradient(measurement: Measurement) -> Tensors:
    """Return the Hessian's product with the gradient, both of the loss at a temperature.

    Both are means over the same samples (GraSP, arXiv:2002.07376).
    """
    loss = measurement.loss

    def add_up(fed: Fed) -> Part:
        leaves = measurement.leaves()
        outputs = measurement.outputs(fed.feeds, leaves)
        found = _differentiate(loss.mean(outputs, fed, TEMPERATURE), leaves)
        return _part(fed, loss.mean(outputs, fed), found)

    mean = measurement.mean(add_up)

    def multiply(fed: Fed) -> Part:
        leaves = measurement.leaves()
        outputs = measurement.outputs(fed.feeds, leaves)
        found = _differentiate(loss.mean(outputs, fed, TEMPERATURE), leaves, again=True)
        product = torch.stack(
            [(found[path] * mean[path].to(found[path])).sum() for path in leaves]
        ).sum()
        return _part(fed, loss.mean(outputs, fed), _differentiate(product, leaves))

    # The kernels that fuse attention have no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        return measurement.mean(multiply)


def reached(measurement: Measurement, fed: Fed) -> list[str]:
    """Return the tensors that a gradient of the loss arrives at."""
    leaves = measurement.leaves()
    loss = measurement.loss.mean(measurement.outputs(fed.feeds, leaves), fed)
    if not loss.requires_grad:
        return []
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return [path for path, each in zip(leaves, found, strict=True) if each is not None]


def _differentiate(value: Tensor, leaves: Tensors, again: bool = False) -> Tensors:
    """Return the gradient by each leaf, zeros where none arrives."""
    if not value.requires_grad:
        return {path: torch.zeros_like(leaf) for path, leaf in leaves.items()}
    found = torch.autograd.grad(
        value,
        list(leaves.values()),
        create_graph=again,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(leaves, found, strict=True))


def _part(fed: Fed, loss: Tensor, means: Tensors) -> Part:
    """Return the sums that belong to means over some samples."""
    sums = {path: each.detach().double() * fed.count for path, each in means.items()}
    return Part(fed.count, float(loss.detach()) * fed.count, sums)
