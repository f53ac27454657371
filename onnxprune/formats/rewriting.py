"""Writes a file again with parts of another length, some of them filled in piece by piece."""

import os
from collections.abc import Sequence
from pathlib import Path

from onnxprune.formats.files import SourceFile
from onnxprune.formats.output import copy_range, write_at, write_errors
from onnxprune.formats.splice import Shift, Splice


def write_spliced(
    source: SourceFile, splices: Sequence[Splice], descriptor: int, target: Path
) -> int:
    """Copy a file with some parts replaced, and return how long it is now.

    Args:
        source: the file.
        splices: what becomes of its parts.
        descriptor: of an empty file.
        target: what that is called in errors.
    """
    shift = Shift(splices)
    size = source.size + shift.growth
    with write_errors(target):
        os.ftruncate(descriptor, size)
    at = 0
    for to, edit in shift.moved():
        _copy(source, descriptor, at, edit.start, to, target)
        write_at(descriptor, edit.data, to, target)
        if edit.filling is not None:
            edit.filling.write(descriptor, to + len(edit.data), target)
        at = edit.end
    _copy(source, descriptor, at, source.size, size, target)
    return size


def _copy(  # noqa: PLR0913 - two files, a range and where it ends up
    source: SourceFile, sink: int, start: int, end: int, behind: int, target: Path
) -> None:
    """Copy a range so that it ends at an offset."""
    while start < end:
        to = behind - (end - start)
        start += copy_range(source.descriptor, sink, start, to, end - start, target)
