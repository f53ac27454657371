"""The zip archives that torch writes: where each member's bytes lie, and their checksums.

Nothing is executed and nothing is unpacked but what is asked for. What a model's tensors are
made of must lie in the archive as it is, so that it can be read and overwritten in place.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from struct import Struct, pack

from onnxprune.bounds import refuse_amplified
from onnxprune.errors import InputError, LimitError, UnsafeError
from onnxprune.formats.files import SourceFile
from onnxprune.formats.wire import read_exactly

MAGIC = b"PK\x03\x04"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x61
DESCRIBED = 0x8
"""The bit of a member's flags that says that its checksum stands behind it, too."""

AMPLIFICATION = 100
READ_LIMIT = 1 << 26
"""One member that is read whole may take so many bytes."""

MEMBERS = 1_000_000
LOCAL = Struct("<4s5H3I2H")
CENTRAL = Struct("<4s6H3I5H2I")
CRC_IN_LOCAL, CRC_IN_CENTRAL = 14, 16
DESCRIPTOR = b"PK\x07\x08"
BLOCK = 1 << 20
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
)
"""What zipfile raises where an archive is not as it should be."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the archive.

    Args:
        name: without the folder that all members are in.
        start: where its bytes begin; `size`: how many they are once unpacked.
        stored: whether they are as they are, not compressed.
        sums: where in the archive its checksum stands.
    """

    name: str
    start: int
    size: int
    stored: bool
    sums: tuple[int, ...]


class TorchArchive:
    """The members of an archive by name, checked before any of them is read."""

    def __init__(self, source: SourceFile) -> None:
        self.source = source
        try:
            self._zip = zipfile.ZipFile(io.FileIO(source.descriptor, closefd=False))
            infos = [info for info in self._zip.infolist() if not info.filename.endswith("/")]
        except UNREADABLE as error:
            raise InputError("not a whole zip archive", "is the download complete?") from error
        if len(infos) > MEMBERS:
            raise LimitError(f"{len(infos):,} members in one archive (max {MEMBERS:,})")
        _check_names(infos)
        _check_sizes(infos, source.size)
        self.folder = _common_folder(infos)
        entries = self._entries()
        if entries and min(entries) > 0:
            # What is left of an archive may end with a member that is a whole archive itself.
            raise InputError("not a whole zip archive", "is the download complete?")
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self.members: dict[str, Member] = {}
        spans = []
        for info in infos:
            name = info.filename.removeprefix(self.folder)
            member = self._member(info, name, entries)
            self._infos[name], self.members[name] = info, member
            ends = [member.start + info.compress_size, *(at + 4 for at in member.sums[1:])]
            spans.append((info.header_offset, max(ends), name))
        _check_overlaps(spans, self._zip.start_dir)

    def read(self, name: str, limit: int = READ_LIMIT) -> bytes:
        """Return the bytes of a member, which is not larger than a limit."""
        info = self._infos[name]
        if info.file_size > limit:
            raise LimitError(f"'{name}' in the archive takes {info.file_size:,} bytes")
        try:
            # What a member unpacks to may be more than it says it is.
            with self._zip.open(info) as file:
                return file.read(info.file_size)
        except UNREADABLE as error:
            raise InputError(f"'{name}' in the archive is damaged") from error

    def _entries(self) -> dict[int, int]:
        """Find where the directory says what it says of each member, by its own offset."""
        start = self._zip.start_dir
        data = read_exactly(self.source.descriptor, start, self.source.size - start)
        at, found = 0, {}
        for info in self._zip.infolist():
            if data[at : at + 4] != b"PK\x01\x02" or at + CENTRAL.size > len(data):
                raise InputError("the directory of the archive is damaged")
            found[info.header_offset] = start + at
            lengths = CENTRAL.unpack_from(data, at)[10:13]
            at += CENTRAL.size + sum(lengths)
        return found

    def _member(self, info: zipfile.ZipInfo, name: str, entries: dict[int, int]) -> Member:
        damaged = InputError(f"'{name}' in the archive is not whole")
        if not 0 <= info.header_offset <= self.source.size - LOCAL.size:
            raise damaged
        head = read_exactly(self.source.descriptor, info.header_offset, LOCAL.size)
        magic, *_, name_length, extra_length = LOCAL.unpack(head)
        start = info.header_offset + LOCAL.size + name_length + extra_length
        end = start + info.compress_size
        stored = info.compress_type == zipfile.ZIP_STORED
        whole = not stored or info.compress_size == info.file_size
        if magic != MAGIC or end > self.source.size - len(MAGIC) or not whole:
            raise damaged
        at = info.header_offset + CRC_IN_LOCAL
        if info.flag_bits & DESCRIBED:
            signed = read_exactly(self.source.descriptor, end, 4) == DESCRIPTOR
            at = end + 4 if signed else end
            if read_exactly(self.source.descriptor, at, 4) != pack("<I", info.CRC):
                raise damaged
        sums = (entries[info.header_offset] + CRC_IN_CENTRAL, at)
        return Member(name, start, info.file_size, stored, sums)


def checksum_of(descriptor: int, member: Member) -> int:
    """Compute the checksum of a stored member's bytes as they are in a file."""
    total = 0
    for start in range(0, member.size, BLOCK):
        count = min(BLOCK, member.size - start)
        total = zlib.crc32(read_exactly(descriptor, member.start + start, count), total)
    return total


def _check_names(infos: list[zipfile.ZipInfo]) -> None:
    names = [info.filename for info in infos]
    if len(set(names)) < len(names):
        raise UnsafeError("two members of the archive have one name")
    if "" in names:
        raise InputError("a member of the archive has no name")
    for info in infos:
        parts = info.filename.split("/")
        if ".." in parts or info.filename.startswith("/") or "\\" in info.filename:
            raise UnsafeError("a member of the archive has a name that leaves it")
        if info.flag_bits & ENCRYPTED or info.compress_type not in METHODS:
            raise InputError(
                "a member of the archive is encrypted, or packed in an unknown way"
            )


def _check_sizes(infos: list[zipfile.ZipInfo], size: int) -> None:
    total = sum(info.file_size for info in infos)
    refuse_amplified("the archive unpacks to", total, size, AMPLIFICATION)


def _check_overlaps(spans: list[tuple[int, int, str]], limit: int) -> None:
    """Refuse members that share bytes: what is written to one would change the other."""
    end = 0
    for start, stop, name in sorted(spans):
        if start < end or stop > limit:
            raise UnsafeError(f"'{name}' in the archive shares bytes with another member")
        end = stop


def _common_folder(infos: list[zipfile.ZipInfo]) -> str:
    """Return the folder that torch puts all members in, with its slash."""
    first, slash, _ = infos[0].filename.partition("/") if infos else ("", "", "")
    folder = first + slash if slash else ""
    return folder if all(info.filename.startswith(folder) for info in infos) else ""
