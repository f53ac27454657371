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
        gone = {axis % rank for axis in axes}
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
        order = [factor for group in self.groups for factor in group]
        factors = list(self.factors)
        pieces = {factor: [factor] for factor in order}
        groups: list[tuple[int, ...]] = []
        queue = list(order)
        for size in shape:
            group: list[int] = []
            rest = size
            while rest > 1 and queue:
                factor = queue[0]
                extent = factors[factor]
                if rest % extent == 0:
                    queue.pop(0)
                    group.append(factor)
                    rest //= extent
                elif extent % rest == 0:
                    factors[factor] = rest
                    factors.append(extent // rest)
                    new = len(factors) - 1
                    owner = next(key for key, parts in pieces.items() if factor in parts)
                    pieces[owner].insert(pieces[owner].index(factor) + 1, new)
                    queue[0] = new
                    group.append(factor)
                    rest = 1
                else:
                    return None
            if rest != 1:
                return None
            groups.append(tuple(group))
        while queue and factors[queue[0]] == 1:
            queue.pop(0)
        if queue:
            return None
        return _renumbered(len(self.factors), factors, pieces, groups)

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


def _renumbered(
    count: int,
    factors: list[int],
    pieces: dict[int, list[int]],
    groups: list[tuple[int, ...]],
) -> View:
    """Number the factors by their place in the stored order again."""
    order = [part for factor in range(count) for part in pieces.get(factor, [factor])]
    place = {factor: index for index, factor in enumerate(order)}
    return View(
        tuple(factors[factor] for factor in order),
        tuple(tuple(place[factor] for factor in group) for group in groups),
    )
