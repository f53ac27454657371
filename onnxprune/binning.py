"""Numbers the ranges that scores fall into, so that ranges are ordered as scores are."""

from typing import Protocol

import numpy as np

from onnxprune.types import Array

FRACTION = 10
"""Bits of the significand that a range's number keeps."""

HEADROOM = 2 << FRACTION
"""Ranges kept free above the largest score of the first block: two powers of two."""


class Binning(Protocol):
    """A way to number ranges of scores, from 0 to `size` - 1."""

    size: int

    def keys(self, scores: Array) -> Array:
        """Return the number of the range that each score lies in."""

    def edges(self, keys: Array) -> tuple[Array, Array]:
        """Return the smallest and the largest score that each range can hold."""


class Window:
    """Fine ranges below the largest scores; whatever is far smaller shares the lowest one.

    The bits of a non-negative float, read as an integer, are ordered as the floats are:
    the leading ones number ranges whose width is a fixed fraction of the score.
    """

    size = 16 << FRACTION

    def __init__(self, first: Array) -> None:
        self.dtype = first.dtype
        wide = first.dtype == np.float64
        self._bits: type[np.signedinteger] = np.int64 if wide else np.int32
        self._shift = (52 if wide else 23) - FRACTION
        top = first.max(initial=0)
        number = int(np.asarray([top], first.dtype).view(self._bits)[0]) >> self._shift
        self._base = max(0, number + HEADROOM - (self.size - 1))

    def keys(self, scores: Array) -> Array:
        """Return the number of the range that each score lies in."""
        # A negative zero becomes a negative number, which falls into the lowest range, too.
        numbers = np.right_shift(scores.view(self._bits), self._shift)
        np.subtract(numbers, self._base, out=numbers)
        clipped: Array = np.clip(numbers, 0, self.size - 1, out=numbers)
        return clipped

    def edges(self, keys: Array) -> tuple[Array, Array]:
        """Return the smallest and the largest score that each range can hold."""
        numbers = keys.astype(self._bits) + self._bits(self._base)
        first = numbers << self._bits(self._shift)
        last = first | self._bits((1 << self._shift) - 1)
        low = first.view(self.dtype).astype(np.float64)
        high = last.view(self.dtype).astype(np.float64)
        return np.where(keys == 0, 0.0, low), np.where(keys == self.size - 1, np.inf, high)


class Signed:
    """Coarse ranges over all floats, for scores that may be negative."""

    TAIL = 48
    size = 1 << 16

    def keys(self, scores: Array) -> Array:
        """Return the number of the range that each score lies in."""
        bits = (scores.astype(np.float64) + 0.0).view(np.uint64)
        sign = np.uint64(1 << 63)
        ordered = np.where(bits & sign != 0, ~bits, bits | sign)
        return (ordered >> np.uint64(self.TAIL)).astype(np.int64)

    def edges(self, keys: Array) -> tuple[Array, Array]:
        """Return the smallest and the largest score that each range can hold."""
        sign = np.uint64(1 << 63)
        edges = []
        for tail in (0, (1 << self.TAIL) - 1):
            ordered = keys.astype(np.uint64) << np.uint64(self.TAIL) | np.uint64(tail)
            bits = np.where(ordered & sign != 0, ordered & ~sign, ~ordered)
            edges.append(bits.view(np.float64))
        return edges[0], edges[1]
