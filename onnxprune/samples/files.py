"""The files that samples lie in: regular ones only, in natural order, with their sums."""

import contextlib
import hashlib
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from onnxprune.errors import InputError


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Order names by the numbers in them: 2 before 10."""
    parts = re.split(r"(\d+)", path.name)
    # Names such as 1 and 01 count alike, and still need one order.
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts], path.name


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """List the visible files of some kinds, in natural order."""
    found = sorted(folder.iterdir(), key=natural_order)
    return [path for path in found if path.suffix.lower() in suffixes and is_sample(path)]


def folders_in(folder: Path) -> list[Path]:
    """List the visible folders in a folder, in natural order."""
    found = sorted(folder.iterdir(), key=natural_order)
    return [path for path in found if path.is_dir() and not path.name.startswith(".")]


def is_sample(path: Path) -> bool:
    """Tell a file from hidden ones and folders; refuse what could block or never end."""
    if path.name.startswith(".") or path.is_dir():
        return False
    check_regular(path, path.name)
    return True


def check_regular(path: Path, name: str = "") -> None:
    """Refuse what is no regular file."""
    with reading(name):
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{name} is not a regular file".strip())


def hash_files(files: Sequence[tuple[str, Path]]) -> str:
    """Return a SHA-256 sum of files and what each of them stands for."""
    total = hashlib.sha256()
    for meaning, path in files:
        with reading(path.name), path.open("rb") as stream:
            total.update(f"{len(meaning)} {meaning} ".encode(errors="surrogateescape"))
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


@contextlib.contextmanager
def reading(name: str = "") -> Iterator[None]:
    """Say why the system did not let us read a file; callers may begin with its name."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"{name} cannot be read: {reason}".strip()) from error
