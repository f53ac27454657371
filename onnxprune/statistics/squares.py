"""The mean squared error: how far an output's values are from what they should be."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from onnxprune.errors import InputError
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


class SquaredError:
    """The mean over samples of the mean over an output's K values of (value - answer)².

    Its Gauss-Newton curvature is 2/K times the sum of the squared gradients of the values,
    whatever the answers are. An integer label of an output with classes stands for 1 at its
    class and 0 elsewhere.

    Args:
        target: the output.
    """

    looks_at_answers: tuple[str, ...] = ("empirical",)

    def __init__(self, target: Target) -> None:
        self._name = target.output

    def settle(self, outputs: Outputs, batch: Batch, fed: Fed) -> None:
        """Find the output."""
        self._name, value = float_output(outputs, self._name)
        sample_rows(self._name, value, fed)

    def answers(self, batch: Batch, fed: Fed, dense: Callable[[], Outputs]) -> Tensor | None:
        """Return the expected outputs, the labels, or what the dense model gives."""
        assert self._name is not None
        if self._name in batch.references:
            expected = np.asarray(batch.references[self._name], np.float64)
            return torch.from_numpy(expected).reshape(fed.count, -1)
        if batch.labels is not None:
            return torch.from_numpy(batch.labels).reshape(fed.count, -1)
        return self.quantities(dense(), fed).detach()

    def note(self, batch: Batch) -> str | None:
        """Say what stands for answers if there are none."""
        if batch.labels is not None or self._name in batch.references:
            return None
        return (
            "no labels: the dense model's own outputs stand for them, from which it is no"
            " distance away until it is pruned"
        )

    def mean(self, outputs: Outputs, fed: Fed, temperature: float = 1.0) -> Tensor:
        """Return the mean of the squares; there are no scores that a temperature is for."""
        del temperature
        values = self.quantities(outputs, fed)
        return (values - self._wanted(values, fed)).square().mean()

    def quantities(self, outputs: Outputs, fed: Fed) -> Tensor:
        """Return the output's values."""
        name, value = float_output(outputs, self._name)
        return sample_rows(name, value, fed).flatten(1) if value.dim() else value.reshape(1, 1)

    def aim(self, quantities: Tensor, fed: Fed, curvature: str, uniform: Uniform) -> Aim:
        """Weigh all values alike, add them up with drawn signs, or take the loss's gradient."""
        factor = 2 / quantities.shape[1]
        if curvature == "exact":
            return Aim(weights=torch.full_like(quantities, factor))
        if curvature == "empirical":
            return Aim(direction=factor * (quantities - self._wanted(quantities, fed)))
        drawn = [uniform(fed.start + row, quantities.shape[1]) for row in range(fed.count)]
        signs = np.where(np.stack(drawn) < 0.5, -1.0, 1.0) * factor**0.5
        return Aim(direction=torch.from_numpy(signs).to(quantities))

    def _wanted(self, values: Tensor, fed: Fed) -> Tensor:
        """Return the answers in the shape of the values."""
        assert fed.answers is not None
        answers = fed.answers.to(values.device)
        if answers.shape == values.shape:
            return answers.to(values.dtype)
        if answers.shape[1] == 1 and not answers.is_floating_point():
            classes = torch.arange(values.shape[1], device=values.device)
            return (answers == classes).to(values.dtype)
        raise InputError(
            f"answers of shape {spell(answers.shape)} for {fed.label}: output '{self._name}'"
            f" has values of shape {spell(values.shape)}"
        )
