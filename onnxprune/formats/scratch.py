"""Folders and files that are needed only meanwhile."""

import tempfile
from typing import IO

from onnxprune.errors import OutputError


def scratch_folder() -> "tempfile.TemporaryDirectory[str]":
    """Make a folder that goes away with what is in it."""
    try:
        return tempfile.TemporaryDirectory(prefix="onnxprune-")
    except OSError as error:
        raise _refused(error) from error


def scratch_file() -> IO[bytes]:
    """Make a file that has no name."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> OutputError:
    reason = (error.strerror or "unknown error").lower()
    return OutputError(
        f"no place for temporary files: {reason}", "TMPDIR names a folder that can be written"
    )
