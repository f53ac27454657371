"""Masks of the methods that measure, by their papers' formulas, in double precision.

Nothing of the package is used, and nothing is fast: a Hessian is a matrix, a diagonal is a loop
over samples and classes, and a selection is one sort of everything.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tests.measured.nets import Array, Net, tensors_of

Arrays = dict[str, Array]
TEMPERATURE = 200.0


@dataclass(frozen=True)
class Asked:
    """What a mask is asked for.

    Args:
        method: its name.
        sparsity: what the last step reaches.
        steps: how many there are.
        penalty: lambda of the loss models.
        batch: samples in a batch; the last one of the set may be smaller.
        width: batches in a step.
        linear: whether each step takes the same number, instead of the same share.
    """

    method: str
    sparsity: float
    steps: int = 1
    penalty: float = 0.0
    batch: int = 5
    width: int = 1
    linear: bool = False


def masks(net: Net, asked: Asked) -> Arrays:
    """Return which weights are kept."""
    return list(steps(net, asked))[-1]


def steps(net: Net, asked: Asked) -> Iterator[Arrays]:
    """Return which weights are kept after each step."""
    kept = {name: np.ones(each.shape, bool) for name, each in net.weights.items()}
    for step in range(1, asked.steps + 1):
        scores = scored(net, asked, kept, step)
        fallen = {name: ~each for name, each in kept.items()}
        if asked.method == "force":
            fallen = {name: np.zeros_like(each) for name, each in kept.items()}
        kept = without_lowest(scores, fallen, zeros_after(net.size, asked, step))
        yield kept


def zeros_after(size: int, asked: Asked, step: int) -> int:
    """Return how many weights are zero after a step."""
    if step == asked.steps:
        return round(asked.sparsity * size)
    share = step / asked.steps
    if asked.linear:
        return round(size * asked.sparsity * share)
    return round(size * (1 - (1 - asked.sparsity) ** share))


def without_lowest(scores: Arrays, fallen: Arrays, count: int) -> Arrays:
    """Keep all but so many: first those that fell, then the lowest, of equal ones the first."""
    values = np.concatenate([each.reshape(-1) for each in scores.values()])
    before = np.concatenate([each.reshape(-1) for each in fallen.values()])
    order = sorted(range(values.size), key=lambda at: (not before[at], values[at], at))
    kept = np.ones(values.size, bool)
    kept[order[:count]] = False
    found, start = {}, 0
    for name, each in scores.items():
        found[name] = kept[start : start + each.size].reshape(each.shape)
        start += each.size
    return found


def window(net: Net, asked: Asked, step: int) -> tuple[Tensor, Tensor]:
    """Return the samples of a step: its batches of the set, which begins again at its end."""
    starts = range(0, len(net.x), asked.batch)
    x, labels = [], []
    for number in range((step - 1) * asked.width, step * asked.width):
        start = starts[number % len(starts)]
        x.append(net.x[start : start + asked.batch])
        labels.append(net.labels[start : start + asked.batch])
    return torch.from_numpy(np.concatenate(x)).double(), torch.from_numpy(
        np.concatenate(labels)
    )


def scored(net: Net, asked: Asked, kept: Arrays, step: int) -> Arrays:
    """Return the scores of all weights."""
    x, labels = window(net, asked, step)
    dense = {name: each.astype(np.float64) for name, each in net.weights.items()}
    left = {name: each * kept[name] for name, each in dense.items()}
    if asked.method == "synflow":
        found = flow(net, kept)
        return {name: abs(found[name] * left[name]) for name in left}
    if asked.method == "grasp":
        found = hessian_gradient(net, x, labels)
        return {name: -(-left[name] * found[name]) for name in left}
    slope = gradient(net, kept, x, labels)
    if asked.method == "grasp_it":
        return {name: slope[name] ** 2 for name in left}
    if asked.method == "force":
        return {name: abs(slope[name] * dense[name]) for name in left}
    if asked.method in ("snip", "iterative_snip"):
        return {name: abs(slope[name] * left[name]) for name in left}
    change = {name: -slope[name] * left[name] for name in left}
    if asked.method != "linear":
        bend = gauss_newton(net, kept, x)
        quadratic = {name: bend[name] / 2 * left[name] ** 2 for name in left}
        part = change if asked.method == "quadratic" else dict.fromkeys(left, 0.0)
        change = {name: part[name] + quadratic[name] for name in left}
    return {name: abs(change[name]) + asked.penalty / 2 * left[name] ** 2 for name in left}


def loss(net: Net, tensors: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy."""
    scores = net.forward(tensors, x, torch.tanh)
    return surprise(scores, labels)


def surprise(scores: Tensor, labels: Tensor) -> Tensor:
    """Return how little of the probability lies on the right classes, as a mean logarithm."""
    right = scores[torch.arange(len(scores)), labels]
    return (torch.logsumexp(scores, 1) - right).mean()


def gradient(net: Net, kept: Arrays, x: Tensor, labels: Tensor) -> Arrays:
    """Return the gradient at the masked weights, by all entries, pruned ones too."""
    tensors = tensors_of(net, kept)
    leaves = [tensors[name].requires_grad_() for name in net.weights]
    found = torch.autograd.grad(loss(net, tensors, x, labels), leaves)
    return {name: each.numpy() for name, each in zip(net.weights, found, strict=True)}


def gauss_newton(net: Net, kept: Arrays, x: Tensor) -> Arrays:
    """Return the mean over samples of the sum over classes of p (d log p / dw) squared."""
    tensors = tensors_of(net, kept)
    leaves = [tensors[name].requires_grad_() for name in net.weights]
    found = {name: np.zeros(each.shape) for name, each in net.weights.items()}
    for sample in x:
        scores = net.forward(tensors, sample.unsqueeze(0), torch.tanh)[0]
        logarithms = scores - torch.logsumexp(scores, 0)
        for logarithm in logarithms:
            slopes = torch.autograd.grad(logarithm, leaves, retain_graph=True)
            share = float(logarithm.detach().exp()) / len(x)
            for name, slope in zip(net.weights, slopes, strict=True):
                found[name] += share * slope.numpy() ** 2
    return found


def hessian_gradient(net: Net, x: Tensor, labels: Tensor) -> Arrays:
    """Return the whole Hessian times the gradient, of the loss at a temperature."""
    dense = tensors_of(net)
    sizes = [each.size for each in net.weights.values()]

    def cooled(flat: Tensor) -> Tensor:
        pieces = dict(zip(net.weights, flat.split(sizes), strict=True))
        shaped = {name: piece.view(dense[name].shape) for name, piece in pieces.items()}
        return surprise(net.forward(dense | shaped, x, torch.tanh) / TEMPERATURE, labels)

    flat = torch.cat([dense[name].reshape(-1) for name in net.weights])
    slope = torch.autograd.functional.jacobian(cooled, flat)
    product = torch.autograd.functional.hessian(cooled, flat) @ slope
    pieces = zip(net.weights, product.split(sizes), strict=True)
    return {name: piece.view(dense[name].shape).numpy() for name, piece in pieces}


def flow(net: Net, kept: Arrays) -> Arrays:
    """Return the gradient of all outputs' sum: absolute tensors, ones, and tanh left out."""
    tensors = {name: each.abs() for name, each in tensors_of(net, kept).items()}
    leaves = [tensors[name].requires_grad_() for name in net.weights]
    ones = torch.ones(1, *net.x.shape[1:], dtype=torch.float64)
    total = net.forward(tensors, ones, lambda value: value).sum()
    found = torch.autograd.grad(total, leaves)
    return {name: each.numpy() for name, each in zip(net.weights, found, strict=True)}
