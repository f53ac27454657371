"""Replaces parts of a protobuf file by parts of another length, and fixes what encloses them."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from onnxprune.formats.wire import Frame, encode_varint


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """Bytes that are too many to be held: `write` puts them into a file.

    Args:
        size: how many they are.
        write: takes the file's descriptor, the offset of the first, and what to call the file
            in errors; where it writes nothing, the file is to hold zeros.
    """

    size: int
    write: Callable[[int, int, Path], None]


@dataclass(frozen=True, slots=True, eq=False)
class Splice:
    """New bytes for a part of a file; `frame` is the innermost field that encloses it.

    Of those for empty parts at the same place, the first given comes first. A filling comes
    behind the bytes that are given.
    """

    start: int
    end: int
    data: bytes
    frame: Frame
    filling: Filling | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """New bytes for a part of a file."""

    start: int
    end: int
    data: bytes
    filling: Filling | None = None


class Shift:
    """Where the bytes of a file go when parts before them change their length."""

    def __init__(self, splices: Sequence[Splice]) -> None:
        self.replacements = sorted(_with_lengths(splices), key=lambda edit: edit.start)
        self._ends = [edit.end for edit in self.replacements]
        self._shifts = [0, *accumulate(map(_growth, self.replacements))]

    @property
    def growth(self) -> int:
        """How many bytes longer the file gets."""
        return self._shifts[-1]

    def moved(self) -> list[tuple[int, Replacement]]:
        """Return every replacement with its new offset."""
        shifts = zip(self.replacements, self._shifts, strict=False)
        return [(edit.start + shift, edit) for edit, shift in shifts]

    def __call__(self, offset: int) -> int:
        """Return the new offset of a byte that no replacement covers."""
        return offset + self._shifts[bisect_right(self._ends, offset)]


def _with_lengths(splices: Sequence[Splice]) -> list[Replacement]:
    """Add the length prefixes that change because something inside them grew or shrank."""
    edits = [Replacement(each.start, each.end, each.data, each.filling) for each in splices]
    growth: dict[int, int] = {}
    frames: dict[int, Frame] = {}
    for splice in splices:
        _grow(splice.frame, _growth(splice), growth, frames)
    # Inner frames first: a prefix that gets wider makes the outer fields longer, too.
    for frame in sorted(frames.values(), key=_depth, reverse=True):
        change = growth[frame.length_at]
        if change == 0 or frame.parent is None:
            continue
        prefix = encode_varint(frame.end - frame.start + change)
        edits.append(Replacement(frame.length_at, frame.start, prefix))
        _grow(frame.parent, len(prefix) - (frame.start - frame.length_at), growth, frames)
    return edits


def _growth(edit: Splice | Replacement) -> int:
    filled = edit.filling.size if edit.filling is not None else 0
    return len(edit.data) + filled - (edit.end - edit.start)


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
