"""The diagonal of the loss's Gauss-Newton matrix: squared gradients, sample by sample.

For cross-entropy it is the mean over samples of the sum over classes c of
p_c (d log p_c / dw)², which is the Fisher information under the model. A weight that is used at
many places has one gradient per sample, which is squared after it was added up over them.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp, vmap
from torch.nn import functional

from onnxprune.errors import LimitError, OnnxpruneError, UsageError
from onnxprune.statistics.feeding import Fed
from onnxprune.statistics.losses import Aim, draw
from onnxprune.statistics.measurement import Measurement, Tensors
from onnxprune.statistics.ranks import Part

ROOM = 1 << 28
"""Bytes of gradients that are in memory at a time, if one of them is not larger."""

MOST = 1 << 14
"""Gradients of one sample."""

ALIKE = {torch.float32: 1e-3, torch.float64: 1e-9}
"""How far a sample's result may be from what it is among others, relative to the largest."""


class _InseparableError(Exception):
    """Samples do something else by themselves than in their batch."""


def curvature(measurement: Measurement) -> Tensors:
    """Return the diagonal of the Gauss-Newton matrix, a mean over samples."""
    estimation = measurement.estimation
    if estimation.bn == "batch":
        raise UsageError(
            "--bn batch: the curvature is of each sample by itself, which has no batch",
            "--bn eval normalises by the file's statistics",
        )
    uniform = draw(estimation.seed, measurement.step)
    loss = measurement.loss

    def add_up(fed: Fed) -> Part:
        with torch.no_grad():
            outputs = measurement.outputs(fed.feeds, measurement.tensors)
            mean = float(loss.mean(outputs, fed))
            quantities = loss.quantities(outputs, fed)
            aim = loss.aim(quantities, fed, estimation.curvature, uniform)
        _refuse_many(aim)
        return Part(fed.count, mean * fed.count, _squares(measurement, fed, aim, quantities))

    return measurement.mean(add_up)


def _refuse_many(aim: Aim) -> None:
    if aim.weights is not None and aim.weights.shape[1] > MOST:
        raise LimitError(
            f"--curvature exact takes one gradient for each of the {aim.weights.shape[1]:,}"
            f" values that a sample gives, {MOST:,} at most",
            "--curvature mc takes one gradient for each sample",
        )


def _squares(measurement: Measurement, fed: Fed, aim: Aim, quantities: Tensor) -> Tensors:
    """Return the sums of squares over some samples, all at once if the model allows that."""
    if measurement.by_sample and fed.separable:
        try:
            return _at_once(measurement, fed, aim, quantities)
        except LimitError:
            raise
        except (_InseparableError, RuntimeError, OnnxpruneError, ValueError, IndexError):
            # A batch size that is part of the graph, or an operator that cannot be mapped.
            measurement.by_sample = False
    return _one_by_one(measurement, fed, aim)


def _at_once(measurement: Measurement, fed: Fed, aim: Aim, quantities: Tensor) -> Tensors:
    """Map over samples, and over their quantities."""
    feeds, places = fed.by_sample()
    answers = fed.answers
    total = {
        path: torch.zeros_like(each).double() for path, each in measurement.tensors.items()
    }
    given = aim.weights if aim.weights is not None else aim.direction
    assert given is not None
    width = given.shape[1] if aim.weights is not None else 1
    size = sum(each.numel() * each.element_size() for each in measurement.tensors.values())
    room = max(1, ROOM // max(1, size))
    across = min(width, room)
    along = max(1, room // across)
    fixed = measurement.fixed()

    def of_sample(own: dict[str, Tensor], answer: Tensor | None, rows: Tensor) -> Any:
        def compute(tensors: Tensors) -> Tensor:
            alone = fed.alone(own, None if answer is None else answer.unsqueeze(0))
            outputs = measurement.module.compute(own, {**fixed, **tensors})
            return measurement.loss.quantities(outputs, alone)[0]

        found, pull = vjp(compute, measurement.tensors)[:2]
        (gradients,) = vmap(pull)(rows)
        return found, {path: each.square().sum(0) for path, each in gradients.items()}

    mapped: Callable[..., Any] = vmap(
        of_sample, in_dims=(places, None if answers is None else 0, 0)
    )
    for start in range(0, fed.count, along):
        some = slice(start, min(start + along, fed.count))
        own = {
            name: feeds[name][some] if at == 0 else feeds[name] for name, at in places.items()
        }
        answer = None if answers is None else answers[some].to(measurement.device)
        for first in range(0, width, across):
            rows = _rows(aim, some, slice(first, min(first + across, width)))
            with warnings.catch_warnings():
                # It says that some operator is mapped by a loop.
                warnings.simplefilter("ignore", UserWarning)
                found, squares = mapped(own, answer, rows)
            _compare(found, quantities[some])
            for path, each in squares.items():
                total[path] += each.sum(0, dtype=torch.float64)
            part = len(found) * min(first + across, width) / width
            measurement.within((start + part) / fed.count)
    return total


def _one_by_one(measurement: Measurement, fed: Fed, aim: Aim) -> Tensors:
    """Take one gradient after another, each through the whole batch."""
    leaves = measurement.leaves()
    total = {path: torch.zeros_like(each).double() for path, each in leaves.items()}
    quantities = measurement.loss.quantities(measurement.outputs(fed.feeds, leaves), fed)
    width = 1 if aim.weights is None else aim.weights.shape[1]
    for sample in range(fed.count):
        own = slice(sample, sample + 1)
        for place in range(width):
            row = _rows(aim, own, slice(place, place + 1))[0, 0]
            if not row.any():
                continue
            gradients = torch.autograd.grad(
                (quantities[sample] * row).sum(),
                list(leaves.values()),
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for path, each in zip(leaves, gradients, strict=True):
                total[path] += each.double().square()
        measurement.within((sample + 1) / fed.count)
    return total


def _rows(aim: Aim, samples: slice, places: slice) -> Tensor:
    """Return combinations of quantities as [samples, combinations, quantities]."""
    if aim.direction is not None:
        return aim.direction[samples].unsqueeze(1)
    assert aim.weights is not None
    # The square of a gradient, times a weight, is the square of the gradient times its root.
    roots = aim.weights[samples, places].sqrt()
    behind = aim.weights.shape[1] - min(places.stop, aim.weights.shape[1])
    return functional.pad(torch.diag_embed(roots), (places.start, behind))


def _compare(found: Tensor, wanted: Tensor) -> None:
    """Refuse samples that give something else by themselves."""
    if found.shape != wanted.shape:
        raise _InseparableError
    scale = max(1.0, float(wanted.abs().max()))
    if not float((found - wanted).abs().max()) <= ALIKE[wanted.dtype] * scale:
        raise _InseparableError
