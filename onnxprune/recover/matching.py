"""Which values of a model its pruned form is brought back to, and how far off they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from onnxprune.errors import UnsupportedError, UsageError
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.statistics.feeding import Fed, cut_rows
from onnxprune.statistics.targets import Target, find_target
from onnxprune.trials.ports import output_ports

LEAST_SHARE = 1e-4
"""What is added to probabilities before their logarithms are compared."""

CLOSE = 1e-3
SMALLEST = 1e-12
"""What a spread is at least, so that a constant output is no division by nothing."""


@dataclass(slots=True, eq=False)
class Matched:
    """The values that are matched, in order.

    Args:
        targets: what outputs rest on: scores before a softmax, or before the place of the
            largest is taken.
        inner: other values of the graph that were asked for.
        spreads: the mean square of each value around its mean, in the dense model.
        shares: those that are probabilities of classes, of which the logarithms are matched.
    """

    targets: list[Target]
    inner: list[str] = field(default_factory=list)
    spreads: dict[str, float] = field(default_factory=dict)
    shares: set[str] = field(default_factory=set)

    @property
    def values(self) -> list[str]:
        """Return the names of all of them."""
        return [str(target.value) for target in self.targets] + self.inner

    def settle(self, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Learn from the dense model's outputs which values there are, and how they spread."""
        usable = {name for name in self.values if is_float(outputs[0].get(name))}
        self.targets = [each for each in self.targets if each.value in usable]
        self.inner = [name for name in self.inner if name in usable]
        if not self.values:
            raise UnsupportedError(
                "no output is of floats, nor the place of the largest of some: there is nothing"
                " to match",
                "--match NAME names a value inside the graph",
            )
        for name in self.values:
            if all(_sums_to_one(each[name]) for each in outputs):
                self.shares.add(name)
            parts = [self.seen(name, each[name]).reshape(-1) for each in outputs]
            value = torch.cat(parts).double()
            value = value[torch.isfinite(value)]
            spread = float((value - value.mean()).square().mean()) if value.numel() else 0.0
            self.spreads[name] = max(spread, SMALLEST)

    def distance(
        self, found: Mapping[str, Any], wanted: Mapping[str, Any], fed: Fed
    ) -> Tensor:
        """Return how far values are off, as a share of how far they spread, on average."""
        found, wanted = cut_rows(found, fed), cut_rows(wanted, fed)
        parts = []
        for name in self.values:
            target = self.seen(name, wanted[name])
            known = torch.isfinite(target)
            difference = torch.where(known, self.seen(name, found[name]) - target, 0.0)
            parts.append(difference.square().mean() / self.spreads[name])
        return torch.stack(parts).mean()

    def seen(self, name: str, value: Tensor) -> Tensor:
        """Return a value as it is compared."""
        seen = value.float() if value.dtype != torch.float64 else value
        return (seen + LEAST_SHARE).log() if name in self.shares else seen


def find_matched(model: OnnxModel, wanted: Sequence[str]) -> Matched:
    """Find what the outputs of a model rest on, and the values that globs name.

    Args:
        model: the model.
        wanted: names of values of the main graph, as globs.
    """
    targets: dict[str | None, Target] = {}
    for port in output_ports(model):
        try:
            target = find_target(model, port.name)
        except UnsupportedError:
            continue
        targets.setdefault(target.value, target)
    inner: dict[str, None] = {}
    made = [name for node in model.graph.model.graph.node for name in node.output if name]
    for glob in wanted:
        found = [name for name in made if name == glob or fnmatchcase(name, glob)]
        if not found:
            raise UsageError(
                f"--match '{glob}' is no value of the graph", "netron shows their names"
            )
        inner |= dict.fromkeys(found)
    return Matched(list(targets.values()), [name for name in inner if name not in targets])


def is_float(value: object) -> bool:
    """Whether a value is a tensor of floats that is not empty."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 0


def _sums_to_one(value: Tensor) -> bool:
    """Whether a value has, for each sample, probabilities of classes."""
    if value.dim() < 2 or value.shape[-1] < 2 or bool((value < 0).any()):
        return False
    return bool(((value.sum(-1) - 1).abs() < CLOSE).all())


def class_axis(target: Target, value: Tensor) -> int | None:
    """Return along which dimension classes lie, if there are any."""
    if target.axis is not None:
        return target.axis % max(value.dim(), 1)
    return 1 if value.dim() == 2 and value.shape[1] > 1 else None
