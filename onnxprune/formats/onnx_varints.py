"""Numbers of varying width, many at once: read, and written again with some of them changed."""

import numpy as np

from onnxprune.errors import InputError
from onnxprune.formats.wire import truncated
from onnxprune.types import Array

LONGEST = 10
DIGIT = 7


def widths_of(data: bytes) -> Array:
    """Return how many bytes each number takes."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) < 0x80) + 1
    if ends[-1:].sum() != len(data):
        raise truncated()
    return np.diff(ends, prepend=0)


def decode_varints(data: bytes) -> Array:
    """Return the numbers as unsigned ones of 64 bits."""
    raw = np.frombuffer(data, np.uint8)
    widths = widths_of(data)
    if widths.size and widths.max() > LONGEST:
        raise InputError("a varint is longer than ten bytes")
    starts = np.cumsum(widths) - widths
    values = np.zeros(widths.size, np.uint64)
    for place in range(int(widths.max(initial=0))):
        there = widths > place
        digits = (raw[starts[there] + place] & 0x7F).astype(np.uint64)
        values[there] |= digits << np.uint64(DIGIT * place)
    return values


def rewrite_varints(old: bytes, widths: Array, changed: Array, numbers: Array) -> bytes:
    """Write changed numbers in as many bytes as they had, where that is enough.

    Args:
        old: all numbers as they were.
        widths: how many bytes each of them takes.
        changed: which of them are others now.
        numbers: what they are now, as unsigned ones of 64 bits.
    """
    wide = np.where(changed, np.maximum(widths, _needed(numbers)), widths)
    starts = np.cumsum(wide) - wide
    new = np.empty(int(wide.sum()), np.uint8)
    for place in range(int(wide[changed].max(initial=0))):
        there = changed & (wide > place)
        digits = (numbers[there] >> np.uint64(DIGIT * place)).astype(np.uint8) & 0x7F
        more = (wide[there] > place + 1).astype(np.uint8)
        new[starts[there] + place] = digits | more << 7
    # A number that stays keeps its bytes, of which there may be more than it needs.
    new[np.repeat(~changed, wide)] = np.frombuffer(old, np.uint8)[np.repeat(~changed, widths)]
    return new.tobytes()


def _needed(numbers: Array) -> Array:
    """Return the fewest bytes that each number fits into."""
    widths = np.ones(numbers.shape, np.int64)
    for place in range(1, LONGEST):
        widths += (numbers >> np.uint64(DIGIT * place)) != 0
    return widths
