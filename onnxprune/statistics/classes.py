"""Cross-entropy: how surprised a model is by classes, and how sure it is of them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onnxprune.errors import InputError, UsageError
from onnxprune.samples.batch import Batch
from onnxprune.statistics.feeding import Fed
from onnxprune.statistics.losses import (
    Aim,
    Outputs,
    Uniform,
    float_output,
    sample_rows,
    spell,
)
from onnxprune.statistics.targets import Target
from onnxprune.trials.classes import SUM_ERROR, labels_fit
from onnxprune.types import Array

OTHER = "--loss mse and --loss module:function go with any output"
SEQUENCE = 3
"""Dimensions of scores by sample, step of a sequence and class: there, classes come last."""


class CrossEntropy:
    """The mean of -log p of the right class, over samples and over the positions in each.

    Args:
        target: the value that holds the scores, or the probabilities, of classes.
    """

    looks_at_answers: tuple[str, ...] = ("empirical",)

    def __init__(self, target: Target) -> None:
        self._target = target
        self._name = target.value
        self._axis = 1
        self._classes = 0
        self._probabilities = target.kind == "probabilities"
        self._decided: dict[int, Tensor] = {}

    def settle(self, outputs: Outputs, batch: Batch, fed: Fed) -> None:
        """Find the dimension of classes, and whether they are probabilities."""
        self._name, value = float_output(outputs, self._target.value)
        rows = sample_rows(self._shown, value.detach(), fed)
        known = self._target.axis
        if known is not None and -value.dim() <= known < value.dim():
            self._axis = known % value.dim() + int(fed.whole)
        else:
            self._axis = self._find_axis(rows, batch.labels, fed)
        self._classes = rows.shape[self._axis] if rows.dim() > 1 else 1
        if self._classes < 2:
            raise UsageError(
                f"cross-entropy is of two classes or more, output '{self._shown}' of shape"
                f" {spell(value.shape)} has one",
                OTHER,
            )
        if self._target.kind in ("unknown", "shares"):
            sums = rows.sum(self._axis)
            near = bool(((sums - 1).abs() <= SUM_ERROR).all())
            self._probabilities = near and bool((rows >= 0).all())
        if self._target.kind == "shares" and not self._probabilities:
            raise UsageError(
                f"the values of output '{self._shown}' do not add up to 1: they are no"
                " probabilities of classes",
                OTHER,
            )

    def answers(self, batch: Batch, fed: Fed, dense: Callable[[], Outputs]) -> Tensor | None:
        """Return the labels, or what the dense model decides."""
        if batch.labels is not None:
            self._check(batch.labels, fed)
            return torch.from_numpy(batch.labels)
        if fed.start not in self._decided:
            found = self._scores(dense(), fed).argmax(-1)
            self._decided[fed.start] = found.to("cpu", torch.int32)
        return self._decided[fed.start]

    def note(self, batch: Batch) -> str | None:
        """Say what stands for labels if there are none."""
        if batch.labels is not None:
            return None
        return "no labels: the dense model's own decisions stand for them"

    def mean(self, outputs: Outputs, fed: Fed, temperature: float = 1.0) -> Tensor:
        """Return the mean over samples and positions."""
        scores = self._scores(outputs, fed)
        chosen = self._chosen(scores, fed)
        logarithms = functional.log_softmax(scores / temperature, -1)
        return -logarithms.gather(-1, chosen.unsqueeze(-1)).mean()

    def quantities(self, outputs: Outputs, fed: Fed) -> Tensor:
        """Return the logarithms of all probabilities."""
        return functional.log_softmax(self._scores(outputs, fed), -1).flatten(1)

    def aim(self, quantities: Tensor, fed: Fed, curvature: str, uniform: Uniform) -> Aim:
        """Weigh each class by its probability, or take one: a drawn one, or the right one."""
        rows = quantities.reshape(len(quantities), -1, self._classes)
        positions = rows.shape[1]
        if curvature == "exact":
            return Aim(weights=quantities.exp() / positions)
        if curvature == "empirical":
            # The square of a sample's own gradient, in which positions are a mean.
            chosen, divisor = self._chosen(rows, fed), float(positions)
        else:
            # Draws are independent: the square of their sum is the sum of squares, on average.
            chosen, divisor = _draw(rows, fed, uniform), positions**0.5
        direction = functional.one_hot(chosen, self._classes).to(rows) / divisor
        return Aim(direction=direction.flatten(1))

    @property
    def _shown(self) -> str:
        return self._target.output or self._name or "?"

    def _find_axis(self, rows: Tensor, labels: Array | None, fed: Fed) -> int:
        """Return the dimension of classes: the one that labels leave out, if there are any."""
        if rows.dim() == 1:
            return 0
        lead = int(fed.whole)
        last: int = rows.dim() - 1
        usual = last if rows.dim() - lead == SEQUENCE else min(1 + lead, last)
        if labels is None:
            return usual
        shape = tuple(rows.shape)
        axes: list[int] = [usual, last, *range(1, last)]
        for axis in axes:
            if labels_fit(labels, (*shape[:axis], *shape[axis + 1 :])):
                return axis
        return usual

    def _check(self, labels: Array, fed: Fed) -> None:
        wrong = (labels < 0) | (labels >= self._classes)
        if wrong.any():
            place = tuple(np.argwhere(wrong)[0])
            raise InputError(
                f"label {labels[place]} of sample {fed.start + int(place[0])}: output"
                f" '{self._shown}' has classes 0 to {self._classes - 1}"
            )

    def _scores(self, outputs: Outputs, fed: Fed) -> Tensor:
        """Return scores, or logarithms of probabilities, as [samples, positions, classes]."""
        _, value = float_output(outputs, self._name)
        rows = sample_rows(self._shown, value, fed).movedim(self._axis, -1)
        scores = rows.reshape(len(rows), -1, self._classes)
        if self._probabilities:
            return scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
        return scores

    def _chosen(self, scores: Tensor, fed: Fed) -> Tensor:
        """Return the answers as [samples, positions]."""
        assert fed.answers is not None
        shape = scores.shape[:-1]
        if fed.answers.numel() != shape.numel():
            raise InputError(
                f"{fed.answers.numel():,} labels for {fed.label}: output '{self._shown}' has"
                f" {shape.numel():,} places for them"
            )
        return fed.answers.to(scores.device).long().reshape(shape)


def _draw(rows: Tensor, fed: Fed, uniform: Uniform) -> Tensor:
    """Draw a class by its probability for each position of each sample."""
    shares = rows.detach().double().exp().cpu().numpy().cumsum(-1)
    numbers = [uniform(fed.start + row, shares.shape[1]) for row in range(len(shares))]
    limits = np.stack(numbers)[..., None] * shares[..., -1:]
    drawn = (shares <= limits).sum(-1).clip(max=shares.shape[-1] - 1)
    return torch.from_numpy(drawn).to(rows.device)
