"""Replaces parts of a protobuf file by parts of another length, and fixes what encloses them."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from onnxprune.formats.wire import Frame, encode_varint


@dataclass(frozen=True, slots=True, eq=False)
class Splice:
    """New bytes for a part of a file; `frame` is the innermost field that encloses it.

    Of those for empty parts at the same place, the first given comes first.
    """

    start: int
    end: int
    data: bytes
    frame: Frame


@dataclass(frozen=True, slots=True)
class Replacement:
    """New bytes for a part of a file."""

    start: int
    end: int
    data: bytes


class Shift:
    """Where the bytes of a file go when parts before them change their length."""

    def __init__(self, splices: Sequence[Splice]) -> None:
        self.replacements = sorted(_with_lengths(splices), key=lambda edit: edit.start)
        self._ends = [edit.end for edit in self.replacements]
        grown = (len(edit.data) - (edit.end - edit.start) for edit in self.replacements)
        self._shifts = [0, *accumulate(grown)]

    def moved(self) -> list[tuple[int, Replacement]]:
        """Return every replacement with its new offset."""
        shifts = zip(self.replacements, self._shifts, strict=False)
        return [(edit.start + shift, edit) for edit, shift in shifts]

    def __call__(self, offset: int) -> int:
        """Return the new offset of a byte that no replacement covers."""
        return offset + self._shifts[bisect_right(self._ends, offset)]


def _with_lengths(splices: Sequence[Splice]) -> list[Replacement]:
    """Add the length prefixes that change because something inside them grew or shrank."""
    edits = [Replacement(splice.start, splice.end, splice.data) for splice in splices]
    growth: dict[int, int] = {}
    frames: dict[int, Frame] = {}
    for splice in splices:
        _grow(splice.frame, len(splice.data) - (splice.end - splice.start), growth, frames)
    # Inner frames first: a prefix that gets wider makes the outer fields longer, too.
    for frame in sorted(frames.values(), key=_depth, reverse=True):
        change = growth[frame.length_at]
        if change == 0 or frame.parent is None:
            continue
        prefix = encode_varint(frame.end - frame.start + change)
        edits.append(Replacement(frame.length_at, frame.start, prefix))
        _grow(frame.parent, len(prefix) - (frame.start - frame.length_at), growth, frames)
    return edits


def _grow(
    frame: Frame | None, change: int, growth: dict[int, int], frames: dict[int, Frame]
) -> None:
    # By its place: two walks over a file find the same frame twice.
    while frame is not None:
        frames[frame.length_at] = frame
        growth[frame.length_at] = growth.get(frame.length_at, 0) + change
        frame = frame.parent


def _depth(frame: Frame) -> int:
    depth = 0
    outer = frame.parent
    while outer is not None:
        depth += 1
        outer = outer.parent
    return depth
