"""What pruning each tensor alone costs, as curves, and the ratios at which all cost the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

Curve = Sequence[tuple[float, float]]
"""Sparsities of a tensor in order, each with what it costs."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The measured costs of tensors, by path."""

    costs: Mapping[str, Curve]

    def __contains__(self, path: object) -> bool:
        return path in self.costs

    def ratios(self, sizes: Mapping[str, int], zeros: int) -> dict[str, Fraction]:
        """Raise the cost of all tensors together until so many zeros are made.

        Between two measured sparsities cost is taken to rise evenly, and never to fall. What is
        beyond the last one is used last, by all tensors in proportion.
        """
        curves = {path: _rising(self.costs[path]) for path in sizes}
        levels = sorted({cost for curve in curves.values() for _, cost in curve})
        stages = [dict.fromkeys(sizes, Fraction(0))]
        for level in levels:
            for after in (False, True):
                stage = {path: _share(curve, level, after) for path, curve in curves.items()}
                stages.append(stage)
        stages.append(dict.fromkeys(sizes, Fraction(1)))
        for low, high in pairwise(stages):
            least, most = _total(low, sizes), _total(high, sizes)
            if zeros <= most:
                part = Fraction(zeros - least, most - least) if most > least else Fraction(0)
                return {path: low[path] + part * (high[path] - low[path]) for path in sizes}
        return stages[-1]


def _rising(curve: Curve) -> list[tuple[Fraction, Fraction]]:
    """Start a curve at nothing, and let no larger sparsity cost less than a smaller one."""
    rising = [(Fraction(0), Fraction(0))]
    for sparsity, cost in curve:
        rising.append((Fraction(sparsity), max(rising[-1][1], Fraction(cost))))
    return rising


def _share(
    curve: Sequence[tuple[Fraction, Fraction]], level: Fraction, after: bool
) -> Fraction:
    """Return the sparsity that a tensor reaches at a cost.

    Args:
        curve: its sparsities and costs.
        level: the cost.
        after: the largest sparsity of that cost, not the smallest.
    """
    reached = Fraction(0)
    for (start, low), (end, high) in pairwise(curve):
        if high < level or (after and high == level):
            reached = end
        elif low < level:
            reached = start + (end - start) * (level - low) / (high - low)
    return reached


def _total(shares: Mapping[str, Fraction], sizes: Mapping[str, int]) -> Fraction:
    return sum((shares[path] * size for path, size in sizes.items()), Fraction(0))


Ratios = Mapping[str, Fraction] | Curves
"""The sparsity of each tensor, or what each sparsity of it costs."""
