"""Ranks scores without sorting them whole, and cuts a tensor at an exact number of zeros."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import numpy as np

from onnxprune.binning import Binning, Signed, Window
from onnxprune.errors import InputError
from onnxprune.types import Array

CHUNK = 1 << 18
"""Scores that are looked at together; sums run over these blocks in order."""

KEEP_SCORES = 1 << 22
"""Scores that are made of a whole tensor are kept up to this many, else made again."""

GONE = -np.finfo(np.float64).max
"""The score of what has fallen already: below all others, and finite."""

READ = Callable[[int, int], Array]


class _NegativeError(Exception):
    """A score is negative: this tensor needs the signed order."""


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """How many scores lie in each range of scores; ascending, empty ranges left out.

    Args:
        keys: the number of each range; `counts`: how many scores it holds.
        binning: what numbered them.
        least: the smallest score of all; `most`: the largest.
    """

    keys: Array
    counts: Array
    binning: Binning
    least: float
    most: float

    def edges(self) -> tuple[Array, Array]:
        """Return the smallest and the largest score that each range can hold."""
        low, high = self.binning.edges(self.keys.astype(np.int64))
        return np.maximum(low, self.least), np.minimum(high, self.most)


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """The distinct scores within some ranges, ascending, and how often each occurs.

    Args:
        values: the scores; `counts`: how often each occurs.
        above: the sum of the squares of all scores above these ranges, scaled as asked.
    """

    values: Array
    counts: Array
    above: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """Prune every score below `value`, and the first `ties` of those equal to it."""

    value: float
    ties: int


class Ranking:
    """The order of one tensor's scores; reads them as often as it needs, never keeps them.

    Args:
        name: what to call the tensor in a message.
        shape: the tensor's shape.
        read: returns the scores of a range of positions, as float32 or float64.
        score: scores values that were read already, from a position on.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        read: READ,
        score: Callable[[int, Array], Array] | None = None,
    ) -> None:
        self.name = name
        self.shape = shape
        self.size = math.prod(shape)
        self.read = read
        self._score = score
        self._signed = False
        self._bins: Bins | None = None
        self._known: tuple[int, int, Values] | None = None

    def chunks(self) -> Iterator[Array]:
        """Yield all scores in order, in blocks of a fixed size."""
        for start in range(0, self.size, CHUNK):
            yield self.read(start, min(start + CHUNK, self.size))

    def scores_of(self, start: int, values: Array) -> Array:
        """Score values of the tensor, the first of which is at a position."""
        if self._score is not None:
            return self._score(start, values)
        return self.read(start, start + values.size)

    def bins(self) -> Bins:
        """Count the scores per range."""
        if self._bins is None:
            try:
                self._bins = self._count()
            except _NegativeError:
                self._signed = True
                self._bins = self._count()
        return self._bins

    def values(self, first: int, last: int, exponent: int | None = None) -> Values:
        """Return the distinct scores in the ranges numbered `first` to `last`.

        Args:
            first: the number of the first range.
            last: the number of the last.
            exponent: given one, squares above are summed, of scores over this power of two.
        """
        known, binning = self._known, self.bins().binning
        if known is not None and known[0] <= first and last <= known[1] and exponent is None:
            keys = binning.keys(known[2].values)
            inside = (keys >= first) & (keys <= last)
            return Values(known[2].values[inside], known[2].counts[inside])
        parts: list[Values] = []
        above = 0.0
        smallest, largest = binning.edges(np.array([first, last]))
        for chunk in self.chunks():
            # The edges of fine ranges are scores themselves; others compare in float64.
            exact = chunk.dtype if isinstance(binning, Window) else np.float64
            low, high = smallest[0].astype(exact), largest[1].astype(exact)
            if exponent is not None:
                tail = scaled(chunk[chunk > high], exponent)
                above += float(np.add.reduce(tail * tail))
            inside = (chunk >= low) & (chunk <= high)
            found, counts = np.unique(chunk[inside], return_counts=True)
            parts.append(Values(found, counts))
            if sum(part.values.size for part in parts) > 4 * CHUNK:
                parts = [_merged(parts)]
        merged = _merged(parts)
        self._known = (first, last, merged)
        return Values(merged.values, merged.counts, above)

    def exact_square_sum(self, value: float, exponent: int) -> Fraction:
        """Sum the squares of all scores above a value without any rounding.

        Args:
            value: the score.
            exponent: the power of two that scores are divided by first.
        """

        def squares() -> Iterator[float]:
            for chunk in self.chunks():
                tail = scaled(chunk[chunk > value], exponent)
                yield from (tail * tail).tolist()

        # A correctly rounded sum, then what it misses, and so on: together they are exact.
        parts: list[float] = []
        while rest := math.fsum(chain(squares(), (-part for part in parts))):
            parts.append(rest)
        return sum(map(Fraction, parts), Fraction(0))

    def cut(self, zeros: int) -> Cut:
        """Find where to cut so that exactly `zeros` scores fall away."""
        if zeros == 0:
            return Cut(-np.inf, 0)
        bins = self.bins()
        below = np.cumsum(bins.counts, dtype=np.int64)
        index = int(np.searchsorted(below, zeros))
        key = int(bins.keys[index])
        rest = zeros - int(below[index]) + int(bins.counts[index])
        found = self.values(key, key)
        place = int(np.searchsorted(np.cumsum(found.counts), rest))
        earlier = int(found.counts[:place].sum())
        return Cut(float(found.values[place]), rest - earlier)

    def _count(self) -> Bins:
        least, most = np.inf, -np.inf
        binning: Binning = Signed()
        counts = np.zeros(binning.size, np.int64)
        for number, chunk in enumerate(self.chunks()):
            low, high = chunk.min(), chunk.max()
            if not np.isfinite(low) or not np.isfinite(high):
                self._refuse()
            if low < 0 and not self._signed:
                raise _NegativeError
            if number == 0 and not self._signed:
                binning = Window(chunk)
                counts = np.zeros(binning.size, np.int64)
            least, most = min(least, float(low)), max(most, float(high))
            counts += np.bincount(binning.keys(chunk), minlength=binning.size)
        keys = np.flatnonzero(counts)
        small = np.uint32 if self.size < 1 << 32 else np.int64
        return Bins(keys.astype(np.uint16), counts[keys].astype(small), binning, least, most)

    def _refuse(self) -> None:
        """Name the first score that is no number."""
        start = 0
        for chunk in self.chunks():
            wrong = np.flatnonzero(~np.isfinite(chunk))
            if wrong.size:
                kind = "NaN" if np.isnan(chunk[wrong[0]]) else "Inf"
                place = np.unravel_index(start + int(wrong[0]), self.shape)
                spelled = ",".join(str(index) for index in place)
                raise InputError(f"'{self.name}': {kind} at [{spelled}]")
            start += chunk.size


class Sieve:
    """Applies a cut to a tensor's scores, block after block in order."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self._left = cut.ties

    def pruned(self, scores: Array) -> Array:
        """Return which of the next scores fall away."""
        value = scores.dtype.type(self.cut.value)
        below: Array = scores < value
        if self._left > 0:
            equal = np.flatnonzero(scores == value)[: self._left]
            below[equal] = True
            self._left -= equal.size
        return below


def scaled(scores: Array, exponent: int) -> Array:
    """Divide scores by a power of two, in float64."""
    wide = scores.astype(np.float64)
    if abs(exponent) > 1000:
        return np.asarray(np.ldexp(wide, -exponent))
    return wide * 2.0**-exponent


def _merged(parts: list[Values]) -> Values:
    values = np.concatenate([part.values for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    distinct, places = np.unique(values, return_inverse=True)
    return Values(distinct, np.bincount(places, counts, distinct.size).astype(np.int64))
