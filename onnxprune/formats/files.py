"""Opens model and data files: regular files only, contained, through one descriptor each."""

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from onnxprune.errors import InputError, OnnxpruneError, UnsafeError

FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, eq=False)
class SourceFile:
    """An open regular file, and what it looked like when it was opened."""

    path: Path
    descriptor: int
    size: int
    state: tuple[int, int, int, int]

    def close(self) -> None:
        """Close the descriptor; of what was only read nothing can get lost."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    def check_in_place(self) -> None:
        """Refuse a file whose name leads to another one by now."""
        self.check_unchanged()
        try:
            state = state_of(os.stat(self.path))
        except OSError:
            state = (0, 0, 0, 0)
        if state != self.state:
            raise InputError(f"{self.path.name} changed while it was read")

    def check_unchanged(self) -> None:
        """Refuse a file that was written to while we worked on it."""
        if state_of(os.fstat(self.descriptor)) != self.state:
            raise InputError(f"{self.path.name} changed while it was read")


def open_regular(path: Path) -> SourceFile:
    """Open a file for reading, refusing whatever could block or never end."""
    descriptor = _open(path)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise InputError(_not_regular(status.st_mode))
    return SourceFile(path, descriptor, status.st_size, state_of(status))


def open_external(model: SourceFile, location: str, allow_hardlinks: bool) -> SourceFile:
    """Open a file that a model names, if it really lies in the model's folder."""
    check_location(location)
    lexical = model.path.parent
    target = Path(os.path.normpath(lexical / location))
    if os.path.relpath(target, os.path.normpath(lexical)).split("/")[0] == "..":
        raise UnsafeError(f"external data '{location}' leaves the model's folder")
    roots = {os.path.realpath(lexical), os.path.dirname(os.path.realpath(model.path))}
    _check_inside(os.path.realpath(target), roots, location)
    try:
        descriptor = _open(target)
    except InputError as error:
        raise InputError(f"external data file '{location}': {error.message}") from error
    try:
        return _check_opened(descriptor, target, model, roots, location, allow_hardlinks)
    except OnnxpruneError:
        os.close(descriptor)
        raise


def check_location(location: str) -> None:
    """Refuse every spelling of a path that is not a plain relative one."""
    if not location:
        raise InputError("no external data location")
    if "_ORT_MEM_ADDR_" in location:
        raise UnsafeError("in-memory address marker in a file")
    if re.search(r"[\x00-\x1f\x7f]", location):
        raise UnsafeError("control character in external data path")
    if "\\" in location:
        raise UnsafeError("backslash in external data path")
    if re.match(r"[A-Za-z]:", location):
        raise UnsafeError("drive letter in external data path")
    if location.startswith("/"):
        raise UnsafeError(f"absolute external data path '{location}'")
    if os.path.normpath(location) == ".":
        raise UnsafeError("external data path is a directory")


def _check_opened(  # noqa: PLR0913 - the facts about one opened file
    descriptor: int,
    target: Path,
    model: SourceFile,
    roots: set[str],
    location: str,
    allow_hardlinks: bool,
) -> SourceFile:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"external data file '{location}' is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeError(f"external data file '{location}' is not a regular file")
    link = Path(f"/proc/self/fd/{descriptor}")
    if link.exists():
        _check_inside(os.path.realpath(link), roots, location)
    if state_of(status)[:2] == model.state[:2]:
        raise UnsafeError("external data is the model file itself")
    if status.st_nlink > 1 and not allow_hardlinks:
        raise UnsafeError(
            f"external data file '{location}' has {status.st_nlink} hard links",
            "--allow-hardlinks takes it",
        )
    return SourceFile(target, descriptor, status.st_size, state_of(status))


def _check_inside(real: str, roots: set[str], location: str) -> None:
    if not any(real.startswith(root.rstrip("/") + "/") for root in roots):
        raise UnsafeError(f"external data '{location}' resolves outside the model's folder")


def _open(path: Path) -> int:
    try:
        return os.open(path, FLAGS)
    except FileNotFoundError as error:
        detail = " (dangling link)" if path.is_symlink() else ""
        raise InputError(f"no such file{detail}") from error
    except PermissionError as error:
        raise InputError("permission denied") from error
    except OSError as error:
        raise InputError((error.strerror or "cannot be opened").lower()) from error


def _not_regular(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "is a directory"
    if stat.S_ISFIFO(mode):
        return "not a regular file (FIFO)"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "not a regular file (device)"
    return "not a regular file"


def state_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return by what a file is known again, unchanged."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
