"""Follows a tensor's dimensions through operators that only move or reshape its values."""

import math
from dataclasses import dataclass

from onnxprune.types import Layout


@dataclass(frozen=True, slots=True)
class View:
    """What an operator sees of a stored tensor.

    Args:
        factors: the stored shape, split finely enough that every dimension the operator
            sees is a group of whole factors.
        groups: for each dimension that the operator sees, the factors it is made of.
    """

    factors: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the operator sees."""
        return tuple(math.prod(self.factors[i] for i in group) for group in self.groups)

    def transposed(self, permutation: list[int]) -> "View":
        """Reorder the dimensions."""
        return View(self.factors, tuple(self.groups[axis] for axis in permutation))

    def squeezed(self, axes: list[int] | None) -> "View":
        """Drop dimensions of size one: these, or all."""
        rank = len(self.groups)
        if axes is None:
            axes = [axis for axis, size in enumerate(self.shape) if size == 1]
        gone = {axis % rank for axis in axes if rank}
        groups = (group for axis, group in enumerate(self.groups) if axis not in gone)
        return View(self.factors, tuple(groups))

    def unsqueezed(self, axes: list[int] | None) -> "View":
        """Insert dimensions of size one at these places of the new shape."""
        groups = list(self.groups)
        total = len(groups) + len(axes or [])
        for axis in sorted(axis % total for axis in axes or []):
            groups.insert(axis, ())
        return View(self.factors, tuple(groups))

    def reshaped(self, shape: list[int]) -> "View | None":
        """Regroup the values in C order, or return None where that is not possible."""
        runs = self._runs()
        extents = [math.prod(self.factors[factor] for factor in run) for run in runs]
        cuts: list[list[int]] = [[] for _ in runs]
        groups: list[list[tuple[int, int]]] = []
        at = 0
        for size in shape:
            group = []
            rest = size
            while rest != 1:
                if at == len(runs) or rest < 1:
                    return None
                taken = min(rest, extents[at])
                if rest % taken or extents[at] % taken:
                    return None
                group.append((at, len(cuts[at])))
                cuts[at].append(taken)
                rest //= taken
                extents[at] //= taken
                at += extents[at] == 1
            groups.append(group)
        return self._regrouped(runs, cuts, groups) if at == len(runs) else None

    def _runs(self) -> list[list[int]]:
        """Join the factors that follow each other both here and in the file; ones vanish."""
        runs: list[list[int]] = []
        for factor in (factor for group in self.groups for factor in group):
            if self.factors[factor] == 1:
                continue
            last = runs[-1][-1] if runs else factor
            if last < factor and math.prod(self.factors[last + 1 : factor]) == 1:
                runs[-1].append(factor)
            else:
                runs.append([factor])
        return runs

    def _regrouped(
        self, runs: list[list[int]], cuts: list[list[int]], groups: list[list[tuple[int, int]]]
    ) -> "View":
        """Put the pieces that runs are cut into in place of the runs."""
        first = {run[0]: number for number, run in enumerate(runs)}
        inside = {factor for run in runs for factor in run}
        factors: list[int] = []
        place: dict[tuple[int, int], int] = {}
        for factor, extent in enumerate(self.factors):
            if factor in first:
                for index, piece in enumerate(cuts[first[factor]]):
                    place[first[factor], index] = len(factors)
                    factors.append(piece)
            elif factor not in inside and extent > 1:
                factors.append(extent)
        return View(tuple(factors), tuple(tuple(place[key] for key in g) for g in groups))

    def layout(self, outputs: list[int], inputs: list[int]) -> Layout:
        """Build the matrix layout from the dimensions that count outputs and inputs."""
        kernel = [axis for axis in range(len(self.groups)) if axis not in outputs + inputs]
        roles = [
            tuple(factor for axis in axes for factor in self.groups[axis])
            for axes in (outputs, kernel, inputs)
        ]
        used = {factor for role in roles for factor in role}
        ones = tuple(factor for factor in range(len(self.factors)) if factor not in used)
        return Layout(self.factors, roles[0], ones + roles[1], roles[2])


def whole(shape: tuple[int, ...]) -> View:
    """Return the view of a tensor as it is stored."""
    return View(shape, tuple((axis,) for axis in range(len(shape))))
