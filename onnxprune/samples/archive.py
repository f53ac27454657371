"""Arrays in .npz and .npy files, read in pieces: mapped where they lie plainly, else streamed."""

import contextlib
import math
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from onnxprune.bounds import refuse_amplified
from onnxprune.errors import InputError, LimitError, UnsafeError, UnsupportedError
from onnxprune.samples.files import check_regular, hash_files, reading
from onnxprune.samples.header import PICKLE, Header, check_length, read_header
from onnxprune.samples.table import Rows, Spec, Table
from onnxprune.types import Array

LOCAL_HEADER = 30
"""The bytes of a zip member's own header before its name."""

ENCRYPTED = 1
"""The flag of a member that needs a password."""

PIECE = 1 << 26
CONSTANT_LIMIT = 1 << 24
WHOLE_LIMIT = 1 << 30
"""The largest array, or row of one, that is unpacked at once."""

BOMB_SIZE, BOMB_RATIO = 1 << 28, 500
"""An array that is larger and shrank by more than any data does was made to fill memory."""

BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Member:
    """An array in an archive.

    Args:
        info: the zip file's entry.
        header: what the array's header says.
        start: where its values begin in the member.
    """

    info: zipfile.ZipInfo
    header: Header
    start: int

    @property
    def plain(self) -> bool:
        """Whether rows can be mapped where they lie."""
        return self.info.compress_type == zipfile.ZIP_STORED and not self.header.fortran


class Archive(Table):
    """The arrays of an .npz file, opened anew for each pass."""

    def __init__(self, path: Path) -> None:
        check_regular(path)
        self.source = str(path)
        self._constants: dict[str, Array] = {}
        self.constants = self._constants
        self._held = 0
        self._file = path
        self._members: dict[str, Member] = {}
        self._unchecked: set[str] = set()
        with _broken(), zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    self._add(archive, info)
        self.columns = {name: each.header.spec for name, each in self._members.items()}

    def take(self, names: Collection[str]) -> None:
        """Go on with these columns only, refusing those that would fill memory."""
        super().take(names)
        for name in self.columns:
            member = self._members[name]
            if member.plain:
                self._unchecked.add(name)
                continue
            _refuse_bomb(name, member)
            at_once = member.header.bytes if member.header.fortran else _row_bytes(member)
            if at_once > WHOLE_LIMIT:
                what = "the array" if member.header.fortran else "one sample"
                raise LimitError(
                    f"'{name}': {what} takes {at_once:,} bytes, more than {WHOLE_LIMIT:,}",
                    "store it uncompressed and in C order, as numpy.savez does",
                )

    def pieces(self, size: int) -> Iterator[Rows]:
        """Go through all rows in order, at most so many at a time."""
        assert self.size is not None
        with contextlib.ExitStack() as stack:
            with _broken():
                archive = stack.enter_context(zipfile.ZipFile(self._file))
                columns = {
                    name: self._column(name, archive, stack, size) for name in self.columns
                }
            for _ in range(0, self.size, size):
                with _broken():
                    rows = {name: next(column) for name, column in columns.items()}
                yield rows

    def digest(self) -> str:
        """Return a SHA-256 sum of all that the rows come from."""
        return hash_files([("", self._file)])

    def _add(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        """Note an array; keep it if it is a constant."""
        name = info.filename.removesuffix(".npy")
        if name in self._members or name in self.constants:
            raise InputError(f"two arrays named '{name}'")
        if ".." in name.split("/"):
            raise UnsafeError(f"an array named '{name}', which leaves the archive")
        if info.flag_bits & ENCRYPTED:
            raise UnsupportedError(f"'{name}' is encrypted", "store it without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsupportedError(
                f"'{name}' is compressed in a way that numpy does not use",
                "numpy.savez and numpy.savez_compressed write what can be read",
            )
        with archive.open(info) as stream:
            header = read_header(stream, name)
            start = stream.tell()
            check_length(header, info.file_size - start, name)
            if header.spec.shape:
                self._members[name] = Member(info, header, start)
                return
            if header.bytes > CONSTANT_LIMIT:
                raise LimitError(f"'{name}' is one value of {header.bytes:,} bytes")
            self._held += header.bytes
            if self._held > CONSTANT_LIMIT:
                raise LimitError(f"its single values take more than {CONSTANT_LIMIT:,} bytes")
            self._constants[name] = _read(stream, header.spec, name)

    def _column(
        self, name: str, archive: zipfile.ZipFile, stack: contextlib.ExitStack, size: int
    ) -> Iterator[Array]:
        """Return the pieces of one array."""
        member = self._members[name]
        if member.plain:
            return self._mapped(name, member, size)
        stream = stack.enter_context(archive.open(member.info))
        header = read_header(stream, name)
        if header != member.header:
            raise InputError(f"'{name}' changed while it was read")
        if not header.fortran:
            return _streamed(stream, header.spec, name, size)
        flat = _read(stream, header.spec, name).reshape(-1)
        whole = flat.reshape(header.spec.shape, order="F")
        return (whole[start : start + size] for start in range(0, len(whole), size))

    def _mapped(self, name: str, member: Member, size: int) -> Iterator[Array]:
        """Go through rows where they lie; compare the member's checksum the first time."""
        start = _data_start(self._file, member.info)
        array = map_array(self._file, member.header, start + member.start)
        with self._file.open("rb") as stream:
            stream.seek(start)
            checksum = zlib.crc32(stream.read(member.start))
        for first in range(0, len(array), size):
            rows = array[first : first + size]
            if name in self._unchecked:
                checksum = zlib.crc32(rows.tobytes(), checksum)
                if first + size >= len(array):
                    if checksum != member.info.CRC:
                        raise InputError(f"'{name}' is damaged: its checksum is wrong")
                    self._unchecked.discard(name)
            yield rows


def read_npy(path: Path) -> Array:
    """Map an array file into memory."""
    check_regular(path)
    with _broken(), path.open("rb") as stream:
        header = read_header(stream, path.stem)
        start = stream.tell()
        check_length(header, path.stat().st_size - start, path.stem)
        return map_array(path, header, start)


def map_array(path: Path, header: Header, start: int) -> Array:
    """Map an array that lies plainly in a file."""
    spec = header.spec
    if header.bytes == 0:
        return np.zeros(spec.shape, spec.dtype)
    if start + header.bytes > path.stat().st_size:
        raise InputError("cut short")
    shape = spec.shape[::-1] if header.fortran else spec.shape
    mapped: Array = np.memmap(path, spec.dtype, "r", start, shape or (1,))
    return mapped.T if header.fortran else mapped.reshape(spec.shape)


def is_archive(path: Path) -> bool:
    """Tell a zip file by its first bytes, refusing a pickle."""
    with reading(), path.open("rb") as stream:
        start = stream.read(4)
    if start.startswith(PICKLE):
        raise UnsafeError("it is pickled, which can run code", "store plain arrays as .npz")
    return start == b"PK\x03\x04"


def _streamed(stream: IO[bytes], spec: Spec, name: str, size: int) -> Iterator[Array]:
    for start in range(0, spec.shape[0], size):
        count = min(size, spec.shape[0] - start)
        yield _read(stream, Spec(spec.dtype, (count, *spec.shape[1:])), name)


def _read(stream: IO[bytes], spec: Spec, name: str) -> Array:
    """Read as many values as the shape has."""
    wanted = math.prod(spec.shape) * spec.dtype.itemsize
    data = bytearray()
    while len(data) < wanted:
        piece = stream.read(min(wanted - len(data), PIECE))
        if not piece:
            raise InputError(f"'{name}' is cut short")
        data += piece
    return np.frombuffer(data, spec.dtype).reshape(spec.shape)


def _row_bytes(member: Member) -> int:
    return member.header.spec.row_bytes


def _refuse_bomb(name: str, member: Member) -> None:
    packed, unpacked = member.info.compress_size, member.info.file_size
    refuse_amplified(f"'{name}' unpacks to", unpacked, packed, BOMB_RATIO, BOMB_SIZE)


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a stored member's bytes begin in the file."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        head = stream.read(LOCAL_HEADER)
        name, extra = struct.unpack("<HH", head[26:30])
        return info.header_offset + LOCAL_HEADER + int(name) + int(extra)


@contextlib.contextmanager
def _broken() -> Iterator[None]:
    """Turn what reading a broken file raises into one error."""
    try:
        with reading():
            yield
    except BROKEN as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"damaged, or no file of arrays: {said}") from error
