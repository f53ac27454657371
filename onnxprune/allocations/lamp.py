"""LAMP (Lee et al. 2021, arXiv:2010.07611)."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from onnxprune.allocations.candidate import Candidate
from onnxprune.allocations.groups import Exact, Pieces
from onnxprune.allocations.lowest import lowest
from onnxprune.registry import allocation
from onnxprune.selection import Bins, Ranking, Values, scaled
from onnxprune.types import Array


@allocation("lamp")
def lamp(candidates: Sequence[Candidate], zeros: int) -> list[int]:
    """Prune where a squared weight is smallest beside those of its tensor that outlast it."""
    rankings = [candidate.magnitudes for candidate in candidates]
    limits = [candidate.limit for candidate in candidates]
    return lowest(rankings, limits, zeros, Lamp())


class Lamp:
    """A weight's score is its square over the sum of squares of those not ranked before it."""

    # Sums of squares run over blocks of float64; this is far above their relative error.
    tolerance = 1e-11

    def exponent(self, bins: Bins) -> int | None:
        """Return the power of two to scale by before squaring."""
        return _exponent(bins)

    def bound(self, bins: Bins) -> tuple[Array, Array]:
        """Bound the scores of each range of magnitudes by its edges and its neighbours'."""
        exponent = _exponent(bins)
        low, high = (scaled(edge, exponent) ** 2 for edge in bins.edges())
        least = _suffix_sum(low * bins.counts) - low * bins.counts
        most = _suffix_sum(high * bins.counts)
        smallest = _ratio(low, most)
        largest = _ratio(high, high + np.maximum(least, 0))
        return smallest * (1 - 1e-9), np.minimum(largest * (1 + 1e-9), 1)

    def pieces(self, found: Values, bins: Bins) -> Pieces:
        """Score copies of a value: each stands in the sum of those ranked before it."""
        exponent = _exponent(bins)
        squares = scaled(found.values, exponent) ** 2
        every = squares * found.counts
        later = np.concatenate([_suffix_sum(every)[1:], [0.0]]) if every.size else every
        base = found.above + later + squares
        values = found.values.astype(np.float64)
        return Pieces(values, found.counts, squares, base, squares)

    def exact(self, ranking: Ranking, value: float) -> Exact:
        """Score copies of a value from a sum without rounding."""
        exponent = _exponent(ranking.bins())
        square = (Fraction(value) / Fraction(2) ** exponent) ** 2
        above = ranking.exact_square_sum(value, exponent)
        return Exact(square, above + square, square)


def _exponent(bins: Bins) -> int:
    """Return a power of two to scale by, so that no square overflows; scores do not change."""
    return int(np.frexp(bins.most)[1])


def _suffix_sum(values: Array) -> Array:
    return np.cumsum(values[::-1])[::-1]


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
