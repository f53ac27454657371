"""Zip archives taken apart and put together, as they should be or not quite."""

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from struct import Struct

from tests.fuzz import values

LOCAL = Struct("<4s5H3I2H")
CENTRAL = Struct("<4s6H3I5H2I")
END = Struct("<4s4H2IH")
LONG_END = Struct("<4sQ2H2I4Q")
LONG_LOCATOR = Struct("<4sIQI")
DESCRIBED = 8
TIGHT = zipfile.ZIP_DEFLATED
SIGNATURES = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x07\x08")
NAMES = [
    *(
        "",
        "/",
        "a/",
        "../x",
        "/x",
        "a\\b",
        "x.npy",
        "y.npy",
        "../x.npy",
        "x.npy\0",
        "\x1b[31m",
    ),
    *("data.pkl", "model/data.pkl", "model/constants.pkl", "model/version", "model/byteorder"),
    *("model/data/0", "model/data/1", "model/code/a.py", "model/archive_format"),
    *("other/data.pkl", "层.npy", "n" * 5000, "x.NPY", ".npy", "a/b.npy"),
]


@dataclass(frozen=True)
class Member:
    """One member: its content and what is said of it that may be wrong."""

    name: str
    content: bytes
    method: int = zipfile.ZIP_STORED
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    offset: int = 0
    extra: bytes = b""


def opened(data: bytes) -> list[Member]:
    """Take a sound archive apart."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [
            Member(info.filename, archive.read(info), info.compress_type)
            for info in archive.infolist()
        ]


def written(members: list[Member], comment: bytes = b"", long: bool = False) -> bytes:
    """Put an archive together."""
    out, directory = bytearray(), bytearray()
    for member in members:
        data = member.content
        if member.method == TIGHT:
            packer = zlib.compressobj(6, zlib.DEFLATED, -15)
            data = packer.compress(data) + packer.flush()
        crc = zlib.crc32(member.content) if member.crc is None else member.crc
        packed = len(data) if member.packed is None else member.packed
        size = len(member.content) if member.size is None else member.size
        name = member.name.encode("utf-8", "surrogateescape")[:65_535]
        flags = member.flags | (0 if name.isascii() else 0x800)
        sums = crc & 0xFFFFFFFF, packed & 0xFFFFFFFF, size & 0xFFFFFFFF
        at = len(out)
        told = (0, 0, 0) if flags & DESCRIBED else sums
        head = (20, flags, member.method, 0, 0x21)
        out += LOCAL.pack(SIGNATURES[0], *head, *told, len(name), len(member.extra))
        out += name + member.extra + data
        if flags & DESCRIBED:
            out += SIGNATURES[4] + Struct("<3I").pack(*sums)
        lengths = len(name), len(member.extra), 0, 0, 0
        offset = (at + member.offset) & 0xFFFFFFFF
        directory += CENTRAL.pack(SIGNATURES[1], 20, *head, *sums, *lengths, 0, offset)
        directory += name + member.extra
    start = len(out)
    out += directory
    count = len(members) & 0xFFFF
    if long:
        at = len(out)
        counts = len(members), len(members), len(directory), start
        out += LONG_END.pack(SIGNATURES[3], 44, 45, 45, 0, 0, *counts)
        out += LONG_LOCATOR.pack(b"PK\x06\x07", 0, at, 1)
    sizes = len(directory), start, len(comment) & 0xFFFF
    return bytes(out) + END.pack(SIGNATURES[2], 0, 0, count, count, *sizes) + comment


Content = Callable[[Random, str, bytes], bytes]
"""(chance, a member's name, its content) -> its changed content."""


def changed(chance: Random, members: list[Member], content: Content) -> bytes:
    """Change an archive: what is in a member, what is said of it, or the bytes of the whole."""
    members = list(members)
    if chance.random() < 0.65:
        for _ in range(chance.choice((1, 1, 2))):
            index = chance.choice(_by_size(chance, members))
            old = members[index]
            members[index] = replace(old, content=content(chance, old.name, old.content))
    if chance.random() < 0.4:
        for _ in range(chance.choice((1, 1, 2, 3))):
            members = _members_changed(chance, members)
    comment = chance.choice((b"", b"", b"", b"PK\x05\x06" + bytes(18), b"c" * 70_000))
    data = written(members, comment if chance.random() < 0.05 else b"", chance.random() < 0.1)
    if chance.random() < 0.3:
        data = _record_changed(chance, data)
    if chance.random() < 0.1:
        data = chance.choice((values.damaged, values.cut, _enclosed))(chance, data)
    return data


def _by_size(chance: Random, members: list[Member]) -> list[int]:
    """Prefer what is no plain block of numbers."""
    told = [n for n, each in enumerate(members) if not each.name.rpartition("/")[2].isdigit()]
    return told if told and chance.random() < 0.9 else list(range(len(members)))


def _members_changed(chance: Random, members: list[Member]) -> list[Member]:
    if not members:
        return [Member("x.npy", b"")]
    index = chance.randrange(len(members))
    old = members[index]
    others = [each.name for each in members]
    folder = old.name.rpartition("/")[0]
    changes: Mapping[str, object] = chance.choice(
        [
            {"name": chance.choice(NAMES)},
            {"name": chance.choice(others)},
            {"name": f"{folder}/{chance.choice(NAMES)}"},
            {"name": old.name.swapcase()},
            {"method": chance.choice((0, 8, 8, 12, 14, 93, 99))},
            {"flags": 1 << chance.randrange(16)},
            {"flags": DESCRIBED},
            {"crc": chance.getrandbits(32)},
            {"size": values.number(chance, len(old.content), 32)},
            {"packed": values.number(chance, len(old.content), 32)},
            {"offset": chance.choice((-1, 1, -30, 30, 1 << 20, -len(old.content)))},
            {"extra": chance.choice(EXTRAS)},
            {"content": values.cut(chance, old.content)},
            {"content": old.content + bytes(chance.choice((1, 8, 64)))},
            {"content": chance.choice(members).content},
        ]
    )
    made = replace(old, **changes)  # type: ignore[arg-type]
    way = chance.randrange(8)
    if way == 0:
        return members[:index] + members[index + 1 :]
    if way == 1:
        return [*members, made]
    if way == 2:
        chance.shuffle(members)
    return [*members[:index], made, *members[index + 1 :]]


EXTRAS = [
    *(b"", b"\0", b"\x01\0\x10\0" + bytes(16), b"\x01\0\x08\0" + b"\xff" * 8),
    *(b"\x01\0\x18\0" + b"\xff" * 24, b"\x01\0\xff\xff", b"\x75\x70\x09\0\1" + bytes(8)),
    b"FB" + b"\x3a\0" + b"Z" * 58,
]


def _record_changed(chance: Random, data: bytes) -> bytes:
    """Write over one number in one of an archive's records."""
    signature = chance.choice(SIGNATURES[:4])
    places = _found(data, signature)
    if not places:
        return data
    width = chance.choice((2, 2, 4, 4, 8))
    at = chance.choice(places) + chance.randrange(0, 46, 2)
    old = int.from_bytes(data[at : at + width], "little")
    new = values.number(chance, old, 8 * width).to_bytes(width, "little")
    return data[:at] + new[: max(0, len(data) - at)] + data[at + width :]


def _found(data: bytes, part: bytes) -> list[int]:
    places, at = [], data.find(part)
    while at >= 0 and len(places) < 100:
        places.append(at)
        at = data.find(part, at + 1)
    return places


def _enclosed(chance: Random, data: bytes) -> bytes:
    """Put an archive behind something, or into another one as it is."""
    way = chance.randrange(3)
    if way == 0:
        return chance.randbytes(chance.choice((1, 30, 64))) + data
    if way == 1:
        return data + data
    return written([Member("model/x", b"1"), Member("model/inner.zip", data)])
