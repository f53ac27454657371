"""Puts files in place whole or not at all: temporaries beside the target, synced, renamed."""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from onnxprune.errors import OutputError, UsageError
from onnxprune.formats.files import SourceFile
from onnxprune.formats.wire import read_exactly

SUFFIX = ".onnxprune-tmp"
COPY_BLOCK = 1 << 20
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What file systems say that have no locks, or folders that need no sync."""

_living: set[Path] = set()
"""The temporaries of this process that may be there."""


def check_output(output: Path, inputs: list[SourceFile], force: bool) -> Path:
    """Refuse an output that could not or must not be written; return its real path."""
    for source in inputs:
        if _is_same(output, source):
            raise UsageError(f"the output is the input file {source.path.name}; name another")
    real = Path(os.path.realpath(output))
    mode = _mode(real)
    if mode is not None and stat.S_ISDIR(mode):
        raise OutputError(f"{output} is a directory")
    if mode is not None and not stat.S_ISREG(mode):
        raise OutputError(f"{output} is not a regular file")
    if os.path.lexists(output) and not force:
        raise UsageError(f"{output} exists", "--force replaces it")
    mode = _mode(real.parent)
    if mode is None or not stat.S_ISDIR(mode):
        raise OutputError(f"there is no folder {real.parent}")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {real.parent} is not writable")
    return real


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what does not fit."""
    with write_errors(folder):
        status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise OutputError(f"no space in {folder}: {needed:,} bytes needed, {free:,} free")


class Temporary:
    """A new file beside its target; it replaces the target, or it goes away.

    There is a file from `create` on. No signal must leave it behind: what removes it is in place
    before that, and `remove_living` is for those that come while it is removed.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        start = os.fsdecode(os.fsencode(target.name)[:80])
        self.path = target.with_name(f".{start}.{os.getpid()}-{time.monotonic_ns()}{SUFFIX}")
        self.descriptor = -1
        self._fresh = False

    def create(self) -> None:
        """Make the file."""
        remove_abandoned(self.target.parent)
        with write_errors(self.target):
            while not self._make():
                pass  # another run took it for abandoned before it was locked

    def commit(self, target: Path | None = None) -> None:
        """Give the file its name, after its bytes are on the disk."""
        self.target = target or self.target
        with write_errors(self.target):
            os.fsync(self.descriptor)
            self._fresh = not os.path.lexists(self.target)
            os.replace(self.path, self.target)
            _living.discard(self.path)
        _sync_folder(self.target)

    def retract(self) -> None:
        """Take a file away again that was put in place where there was none."""
        with contextlib.suppress(OSError):
            same = os.path.samestat(os.lstat(self.target), os.fstat(self.descriptor))
            if self._fresh and same:
                os.unlink(self.target)

    def close(self) -> None:
        """Remove the file, unless it has its name."""
        if self.path in _living:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            _living.discard(self.path)
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def __enter__(self) -> "Temporary":
        try:
            self.create()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self) -> bool:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        _living.add(self.path)
        try:
            self.descriptor = os.open(self.path, flags, 0o666)
        except OSError:
            _living.discard(self.path)
            raise
        _lock(self.descriptor)
        if os.fstat(self.descriptor).st_nlink:
            return True
        self.close()
        return False


def _lock(descriptor: int) -> None:
    """Lock a file as long as we live: a lock that can be had marks an abandoned file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        # Without locks nobody takes a file for abandoned.
        if error.errno not in UNSUPPORTED:
            raise


def _sync_folder(target: Path) -> None:
    """Let a new name survive a loss of power, as far as the file system can."""
    try:
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except PermissionError:
        pass  # one may write to this folder, but not read it
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise OutputError(
                f"{target} may not survive a loss of power: its folder cannot be synced:"
                f" {_reason(error)}"
            ) from error


def remove_abandoned(folder: Path) -> None:
    """Remove the temporaries of runs that were killed."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        found += folder.glob(f".*{SUFFIX}")
    for path in found:
        with contextlib.suppress(OSError):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(descriptor)


def remove_living() -> None:
    """Remove what is left of this process's own temporaries, now that it was told to end."""
    for path in tuple(_living):
        with contextlib.suppress(OSError):
            os.unlink(path)


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
            if not written:
                raise OSError(errno.EIO, "nothing was written")
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
        raise OutputError(f"cannot write {target}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown error").lower()


def _mode(path: Path) -> int | None:
    """Return what kind of file a path leads to; None if it leads nowhere."""
    with write_errors(path):
        try:
            return path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None


def _is_same(output: Path, source: SourceFile) -> bool:
    try:
        status = output.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == source.state[:2]
