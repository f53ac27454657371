"""Reads protobuf wire format from a file in small windows; knows nothing of ONNX."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from onnxprune.errors import InputError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
WINDOW = 1 << 16
SHORT = 5
"""Tags and lengths of more bytes are refused by protobuf, too."""

FIRST_TAG, LAST_TAG = 1 << 3, (1 << 32) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The place of one length-delimited field: its length prefix and its content."""

    parent: "Frame | None"
    length_at: int
    start: int
    end: int


class Reader:
    """Gives varints and bytes of a file; holds one window of it at a time."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self._window = b""
        self._base = 0

    def bytes(self, start: int, end: int) -> bytes:
        """Return the bytes from start to end, or raise if the file is shorter now."""
        base = self._base
        if start >= base and end <= base + len(self._window):
            return self._window[start - base : end - base]
        if end - start > WINDOW:
            return read_exactly(self.descriptor, start, end - start)
        self._fill(start)
        if end > self._base + len(self._window):
            raise InputError("the file changed while it was read")
        return self._window[: end - start]

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """Return the varint at an offset and the offset behind it, which is at most `end`."""
        index = at - self._base
        if index < 0 or index + 10 > len(self._window):
            self._fill(at)
            index = 0
        window = self._window
        if at >= end or not window:
            raise truncated()
        value = window[index]
        if value < 0x80:
            return value, at + 1
        value &= 0x7F
        shift = 7
        for position in range(index + 1, min(index + 10, index + end - at, len(window))):
            byte = window[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, at + position - index + 1
            shift += 7
        raise truncated()

    def tag(self, at: int, end: int) -> tuple[int, int]:
        """Return the tag of a field and the offset behind it."""
        value, behind = self.varint(at, end)
        if behind - at > SHORT or not FIRST_TAG <= value <= LAST_TAG:
            raise truncated()
        return value, behind

    def length(self, at: int, end: int) -> tuple[int, int]:
        """Return a length and the offset behind it."""
        value, behind = self.varint(at, end)
        if behind - at > SHORT:
            raise truncated()
        return value, behind

    def skip(self, wire: int, at: int, end: int) -> int:
        """Return the offset behind a field's value that is not length-delimited."""
        if wire == VARINT:
            behind = self.varint(at, end)[1]
        elif wire == FIXED64:
            behind = at + 8
        elif wire == FIXED32:
            behind = at + 4
        else:
            raise truncated()
        if behind > end:
            raise truncated()
        return behind

    def _fill(self, start: int) -> None:
        self._window = os.pread(self.descriptor, WINDOW, start)
        self._base = start


def open_frame(reader: Reader, parent: Frame | None, at: int) -> Frame:
    """Read a length prefix and return the frame of what it announces."""
    limit = parent.end if parent else reader.size
    length, start = reader.length(at, limit)
    if length > limit - start:
        raise truncated()
    return Frame(parent, at, start, start + length)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One field of a message.

    Args:
        number: its number.
        begin: where its tag begins; `value`: where that ends; `end`: where the field ends.
        value: see above.
        end: see above.
        frame: its content, if it has a length.
    """

    number: int
    begin: int
    value: int
    end: int
    frame: Frame | None


def parts_of(reader: Reader, parent: Frame) -> Iterator[Part]:
    """Go through the fields of a message."""
    at = parent.start
    while at < parent.end:
        tag, value = reader.tag(at, parent.end)
        frame = open_frame(reader, parent, value) if tag & 7 == BYTES else None
        end = frame.end if frame is not None else reader.skip(tag & 7, value, parent.end)
        yield Part(tag >> 3, at, value, end, frame)
        at = end


def read_exactly(descriptor: int, start: int, count: int) -> bytes:
    """Return `count` bytes from `start` on, however the system cuts the reads."""
    parts = []
    while count > 0:
        part = os.pread(descriptor, min(count, 1 << 30), start)
        if not part:
            raise InputError("the file changed while it was read")
        parts.append(part)
        start += len(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def truncated() -> InputError:
    """Say that the bytes do not form a whole message."""
    return InputError(
        "not a whole ONNX file (its protobuf structure breaks off)",
        "is it a truncated or damaged download?",
    )


def encode_varint(value: int, width: int = 1) -> bytes:
    """Encode a non-negative number in at least `width` bytes (overlong if need be)."""
    out = bytearray()
    while value >= 0x80 or len(out) < width - 1:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_field(number: int, content: bytes) -> bytes:
    """Encode one length-delimited field."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(content)) + content


def signed(value: int) -> int:
    """Read a 64-bit varint as the signed number it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value
