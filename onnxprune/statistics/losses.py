"""What losses have in common: outputs in rows per sample, and what is asked of a loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from onnxprune.errors import InputError
from onnxprune.samples.batch import Batch
from onnxprune.statistics.feeding import Fed
from onnxprune.types import Array

Outputs = dict[str, Any]
Uniform = Callable[[int, int], Array]
"""(sample, count) -> numbers in [0, 1), the same for a sample whatever batch it is in."""


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """Which gradients of a sample's quantities are squared; one of the two is given.

    Args:
        weights: per sample, how much the square of each quantity's gradient counts.
        direction: per sample, the combination of quantities whose gradient is squared.
    """

    weights: Tensor | None = None
    direction: Tensor | None = None


class Loss(Protocol):
    """A mean over samples.

    Its quantities are numbers, a row for each sample, in which its curvature is known.
    """

    looks_at_answers: tuple[str, ...]

    def settle(self, outputs: Outputs, batch: Batch, fed: Fed) -> None:
        """Learn from the first batch how outputs are laid out."""

    def answers(self, batch: Batch, fed: Fed, dense: Callable[[], Outputs]) -> Tensor | None:
        """Return what outputs should be; `dense` computes those of the dense model."""

    def note(self, batch: Batch) -> str | None:
        """Say what stands for answers if a batch has none."""

    def mean(self, outputs: Outputs, fed: Fed, temperature: float = 1.0) -> Tensor:
        """Return the mean over samples; scores of classes are divided by the temperature."""

    def quantities(self, outputs: Outputs, fed: Fed) -> Tensor:
        """Return the quantities."""

    def aim(self, quantities: Tensor, fed: Fed, curvature: str, uniform: Uniform) -> Aim:
        """Return what the curvature of each sample is made of."""


def draw(seed: int, step: int) -> Uniform:
    """Return a source of numbers that depend on a seed, a step and a sample."""

    def uniform(sample: int, count: int) -> Array:
        return np.random.default_rng([seed, step, sample]).random(count)

    return uniform


def float_output(outputs: Mapping[str, Any], wanted: str | None) -> tuple[str, Tensor]:
    """Return an output by its name, or the first one of floats."""
    for name, value in outputs.items():
        if isinstance(value, Tensor) and value.is_floating_point() and wanted in (None, name):
            return name, value
    what = "no output of the model is" if wanted is None else f"output '{wanted}' is not"
    raise InputError(
        f"{what} of floats: no loss can be of it",
        "--loss module:function computes a loss of your own",
    )


def sample_rows(name: str, value: Tensor, fed: Fed) -> Tensor:
    """Return an output with one row per sample, without those that fill up a batch."""
    if fed.whole:
        return value.unsqueeze(0)
    if value.dim() == 0 or value.shape[0] != fed.rows:
        raise InputError(
            f"output '{name}' of shape {spell(value.shape)} has no row for each of"
            f" {fed.rows} samples",
            "give each sample the whole shape of every input, with the samples in front",
        )
    return value[: fed.count]


def spell(shape: torch.Size) -> str:
    """Write a shape."""
    return "x".join(map(str, shape)) or "one value"
