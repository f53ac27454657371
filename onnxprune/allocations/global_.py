"""Global magnitude (Gupta et al. 2022, arXiv:2209.14624)."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from onnxprune.allocations.candidate import Candidate
from onnxprune.allocations.groups import Exact, Pieces
from onnxprune.allocations.lowest import lowest
from onnxprune.registry import allocation
from onnxprune.selection import Bins, Ranking, Values
from onnxprune.types import Array


@allocation("global")
def global_(candidates: Sequence[Candidate], zeros: int) -> list[int]:
    """Prune the lowest scores of all tensors together."""
    rankings = [candidate.scores for candidate in candidates]
    limits = [candidate.limit for candidate in candidates]
    return lowest(rankings, limits, zeros, Plain())


class Plain:
    """Scores compare across tensors as they are."""

    tolerance = 0.0

    def exponent(self, bins: Bins) -> int | None:
        """Ask for no sums of squares."""
        return None

    def bound(self, bins: Bins) -> tuple[Array, Array]:
        """Bound the scores of each range by its edges."""
        return bins.edges()

    def pieces(self, found: Values, bins: Bins) -> Pieces:
        """Give every copy of a value that value as its score."""
        values = found.values.astype(np.float64)
        ones = np.ones(values.size)
        return Pieces(values, found.counts, values, ones, np.zeros(values.size))

    def exact(self, ranking: Ranking, value: float) -> Exact:
        """Return the value, which is exact already."""
        return Exact(Fraction(value), Fraction(1), Fraction(0))
