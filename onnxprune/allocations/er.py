"""Erdos-Renyi (Mocanu et al. 2018, arXiv:1707.04780)."""

from collections.abc import Sequence
from fractions import Fraction

from onnxprune.allocations.candidate import Candidate
from onnxprune.allocations.erk import by_density
from onnxprune.registry import allocation


@allocation("er")
def er(candidates: Sequence[Candidate], zeros: int, *, power: float = 1.0) -> list[int]:
    """Keep weights in proportion to the sum of a tensor's outputs and inputs."""
    ratios = []
    for candidate in candidates:
        layout = candidate.weight.layout
        outputs, inputs = layout.output_count, layout.input_count
        ratios.append(Fraction(outputs + inputs, outputs * inputs))
    return by_density(candidates, zeros, ratios, power)
