"""Puts files in place whole or not at all: temporaries beside the target, synced, renamed."""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from onnxprune.errors import OutputError, UsageError
from onnxprune.formats.files import SourceFile
from onnxprune.formats.wire import read_exactly

SUFFIX = ".onnxprune-tmp"
COPY_BLOCK = 1 << 20


def check_output(output: Path, inputs: list[SourceFile], force: bool) -> Path:
    """Refuse an output that could not or must not be written; return its real path."""
    for source in inputs:
        if _is_same(output, source):
            raise UsageError(f"the output is the input file {source.path.name}; name another")
    real = Path(os.path.realpath(output))
    if real.exists():
        mode = real.stat().st_mode
        if stat.S_ISDIR(mode):
            raise OutputError(f"{output} is a directory")
        if not stat.S_ISREG(mode):
            raise OutputError(f"{output} is not a regular file")
    if os.path.lexists(output) and not force:
        raise UsageError(f"{output} exists", "--force replaces it")
    if not real.parent.is_dir():
        raise OutputError(f"there is no folder {real.parent}")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {real.parent} is not writable")
    return real


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what does not fit."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise OutputError(f"no space in {folder}: {needed:,} bytes needed, {free:,} free")


class Temporary:
    """A new file beside its target; it replaces the target, or it goes away."""

    def __init__(self, target: Path) -> None:
        self.target = target
        remove_abandoned(target.parent)
        start = os.fsdecode(os.fsencode(target.name)[:80])
        self.path = target.with_name(f".{start}.{os.getpid()}-{time.monotonic_ns()}{SUFFIX}")
        with write_errors(target):
            self.descriptor = _create_locked(self.path)
        self._open = True

    def commit(self, target: Path | None = None) -> None:
        """Give the file its name, after its bytes are on the disk."""
        self.target = target or self.target
        with write_errors(self.target):
            os.fsync(self.descriptor)
            os.replace(self.path, self.target)
            self._open = False
            os.close(self.descriptor)
            folder = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def __enter__(self) -> "Temporary":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            os.close(self.descriptor)


def _create_locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        descriptor = os.open(path, flags, 0o666)
        # Held as long as we live: a lock that can be had marks an abandoned file.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # another run took it for abandoned before it was locked


def remove_abandoned(folder: Path) -> None:
    """Remove the temporaries of runs that were killed."""
    for path in folder.glob(f".*{SUFFIX}"):
        with contextlib.suppress(OSError):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(descriptor)


def write_whole(target: Path, data: bytes) -> None:
    """Write a small file, whole or not at all."""
    with Temporary(target) as temporary:
        write_at(temporary.descriptor, data, 0, target)
        temporary.commit()


def write_at(
    descriptor: int, data: bytes | bytearray | memoryview, offset: int, target: Path
) -> None:
    """Write all bytes at an offset."""
    view = memoryview(data)
    with write_errors(target):
        while view:
            written = os.pwrite(descriptor, view, offset)
            view = view[written:]
            offset += written


def copy_range(  # noqa: PLR0913 - two files, two offsets, a count
    source: int, sink: int, start: int, to: int, count: int, target: Path
) -> int:
    """Copy bytes from file to file, inside the system where it can."""
    try:
        copied = os.copy_file_range(source, sink, min(count, 1 << 30), start, to)
        if copied:
            return copied
    except (AttributeError, OSError):
        pass
    block = read_exactly(source, start, min(count, COPY_BLOCK))
    write_at(sink, block, to, target)
    return len(block)


@contextlib.contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Turn the system's errors on writing into ours."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OutputError(f"no space left in {target.parent}") from error
        reason = (error.strerror or "unknown error").lower()
        raise OutputError(f"cannot write {target}: {reason}") from error


def _is_same(output: Path, source: SourceFile) -> bool:
    try:
        status = output.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == source.state[:2]
