"""Scores of tensors as groups with bounds, and as runs of copies of values."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from onnxprune.selection import Bins, Ranking, Values
from onnxprune.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Scores of one tensor by groups, ascending: bounds and counts."""

    low: Array
    high: Array
    counts: Array


class Scale(Protocol):
    """Turns one tensor's ranked values into scores that compare across tensors."""

    tolerance: float
    """The relative error of a computed score; closer scores are settled exactly."""

    def exponent(self, bins: Bins) -> int | None:
        """Return by which power of two to scale sums of squares, None if none is needed."""

    def bound(self, bins: Bins) -> tuple[Array, Array]:
        """Bound the scores of each range of values."""

    def pieces(self, found: Values, bins: Bins) -> "Pieces":
        """Describe the scores of the copies of each value."""

    def exact(self, ranking: Ranking, value: float) -> "Exact":
        """Describe the scores of a value's copies without rounding."""


@dataclass(frozen=True, slots=True)
class Exact:
    """What Pieces says of one value, in exact arithmetic."""

    numerator: Fraction
    base: Fraction
    step: Fraction

    def score(self, later: int) -> Fraction:
        """Score the copy that has so many copies after it."""
        below = self.base + later * self.step
        return self.numerator / below if below else Fraction(0)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Copies of values: the one with `j` copies after it scores numerator / (base + j·step).

    Args:
        values: the values, ascending, with `counts` copies each.
        numerator: see above, as are `base` and `step`.
    """

    values: Array
    counts: Array
    numerator: Array
    base: Array
    step: Array

    def score(self, later: Array) -> Array:
        """Score the copies of each value that have so many copies after them."""
        below = self.base + later * self.step
        scores: Array = np.divide(
            self.numerator, below, out=np.zeros(below.size), where=below > 0
        )
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Runs of copies: tensor, value, and how many copies come after the first and the last."""

    tensor: Array
    pieces: Pieces
    first: Array
    last: Array

    def low(self) -> Array:
        """Return the score of each run's first copy."""
        return self.pieces.score(self.first)

    def high(self) -> Array:
        """Return the score of each run's last copy."""
        return self.pieces.score(self.last)

    def counts(self) -> Array:
        """Return how many copies each run has."""
        return self.first - self.last + 1

    def take(self, chosen: Array | slice) -> "Blocks":
        """Return some of the runs."""
        pieces = self.pieces
        fields = (pieces.values, pieces.counts, pieces.numerator, pieces.base, pieces.step)
        taken = Pieces(*(array[chosen].copy() for array in fields))
        tensor, first, last = (
            array[chosen].copy() for array in (self.tensor, self.first, self.last)
        )
        return Blocks(tensor, taken, first, last)


def truncated(group: Groups, limit: int) -> Groups:
    """Leave out what lies above the `limit` lowest scores."""
    before = np.cumsum(group.counts, dtype=np.int64) - group.counts
    counts = np.clip(limit - before, 0, group.counts.astype(np.int64))
    kept = counts > 0
    return Groups(group.low[kept], group.high[kept], counts[kept])


def blocks_of(tensor: int, pieces: Pieces, limit: int) -> Blocks:
    """Make one block of every value's copies, as far as the tensor may give them."""
    before = np.cumsum(pieces.counts) - pieces.counts
    allowed = np.clip(limit - before, 0, pieces.counts)
    first, last = pieces.counts - 1, pieces.counts - allowed
    blocks = Blocks(np.full(pieces.counts.size, tensor), pieces, first, last)
    return blocks.take(allowed > 0)


def joined(parts: Sequence[Blocks]) -> Blocks:
    """Put the runs of several tensors together."""
    fields = ("values", "counts", "numerator", "base", "step")
    pieces = Pieces(
        *(np.concatenate([getattr(part.pieces, name) for part in parts]) for name in fields)
    )
    tensor, first, last = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("tensor", "first", "last")
    )
    return Blocks(tensor, pieces, first, last)
