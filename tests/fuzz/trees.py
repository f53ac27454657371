"""Protobuf messages as trees of fields, which a change copies only along its own path.

Nothing of the package is used here: what fields a message has is read from the onnx package.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import onnx
from google.protobuf.descriptor import Descriptor

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MODEL, TENSOR = "ModelProto", "TensorProto"
DEPTH = 60
"""Deeper messages stay bytes."""


@dataclass(frozen=True)
class Message:
    """A message: what it is called in ONNX ("" if nobody knows), and its fields in order."""

    kind: str
    fields: tuple["Field", ...]

    @cached_property
    def encoded(self) -> bytes:
        """The bytes that it is written as."""
        return b"".join(each.encoded for each in self.fields)

    @cached_property
    def size(self) -> int:
        """How many fields there are in it, at any depth."""
        return sum(1 + each.size for each in self.fields)

    def with_fields(self, fields: "list[Field] | tuple[Field, ...]") -> "Message":
        """Return the message with other fields."""
        return Message(self.kind, tuple(fields))

    def with_field(self, index: int, *fields: "Field") -> "Message":
        """Return the message with one field replaced by others, or by none."""
        return Message(self.kind, self.fields[:index] + fields + self.fields[index + 1 :])


@dataclass(frozen=True)
class Field:
    """One field.

    Args:
        number: of the field in its message.
        wire: its wire type.
        value: a number, bytes as they are, or a message.
        widths: the least bytes that the tag and the length take.
        lie: what is added to the length that is written.
    """

    number: int
    wire: int
    value: int | bytes | Message
    widths: tuple[int, int] = (1, 1)
    lie: int = 0

    @cached_property
    def encoded(self) -> bytes:
        """The bytes that it is written as."""
        tag = varint(self.number << 3 | self.wire, self.widths[0])
        value = self.value
        if isinstance(value, int):
            return tag + varint(value, self.widths[1])
        content = value.encoded if isinstance(value, Message) else value
        if self.wire != BYTES:
            return tag + content
        return tag + varint(max(0, len(content) + self.lie), self.widths[1]) + content

    @cached_property
    def size(self) -> int:
        """How many fields there are in it."""
        return self.value.size if isinstance(self.value, Message) else 0

    @property
    def content(self) -> bytes:
        """What is behind the tag and the length."""
        if isinstance(self.value, int):
            return varint(self.value)
        return self.value.encoded if isinstance(self.value, Message) else self.value

    def changed(self, **changes: object) -> "Field":
        """Return the field with something else in it."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kind:
    """What a message may hold: the kind of each field that is a message, "" for others."""

    fields: dict[int, str] = field(default_factory=dict)
    texts: frozenset[int] = frozenset()
    repeated: frozenset[int] = frozenset()


def parsed(data: bytes, kind: str = MODEL, depth: int = 0) -> Message | None:
    """Read bytes as a message; what has no whole fields is none."""
    fields: list[Field] = []
    at = 0
    while at < len(data):
        read = _read_field(data, at, kind, depth)
        if read is None:
            return None
        found, at = read
        fields.append(found)
    return Message(kind, tuple(fields))


def _read_field(data: bytes, at: int, kind: str, depth: int) -> tuple[Field, int] | None:
    tag = read_varint(data, at)
    if tag is None:
        return None
    number, wire = tag[0] >> 3, tag[0] & 7
    start = tag[1]
    if wire == VARINT:
        value = read_varint(data, start)
        if value is None:
            return None
        widths = _widths(at, start, value)
        return Field(number, wire, value[0], widths), value[1]
    if wire in (FIXED64, FIXED32):
        end = start + (8 if wire == FIXED64 else 4)
        if end > len(data):
            return None
        return Field(number, wire, data[start:end], _widths(at, start, (0, start + 1))), end
    length = read_varint(data, start) if wire == BYTES else None
    if length is None or length[0] > len(data) - length[1]:
        return None
    widths = _widths(at, start, length)
    content = data[length[1] : length[1] + length[0]]
    inner = KINDS[kind].fields.get(number, "") if kind else ""
    message = parsed(content, inner, depth + 1) if inner and depth < DEPTH else None
    value_read = content if message is None else message
    return Field(number, wire, value_read, widths), length[1] + length[0]


def _widths(at: int, start: int, value: tuple[int, int]) -> tuple[int, int]:
    """Return how many bytes a tag and a number take, 1 for the number if that is no more than needed."""
    number, end = value
    return start - at, 1 if len(varint(number)) == end - start else end - start


def read_varint(data: bytes, at: int) -> tuple[int, int] | None:
    """Read a number of at most ten bytes; return it and where it ends."""
    value = 0
    for place in range(10):
        if at + place >= len(data):
            return None
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & (1 << 64) - 1, at + place + 1
    return None


def varint(number: int, width: int = 1) -> bytes:
    """Write a number in at least so many bytes; negative ones take ten."""
    number &= (1 << 70) - 1 if number >= 0 else (1 << 64) - 1
    out = bytearray()
    while number > 0x7F or len(out) < width - 1:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def messages(root: Message) -> Iterator[Message]:
    """Go through a message and all messages in it."""
    waiting = [root]
    while waiting:
        message = waiting.pop()
        yield message
        waiting += [each.value for each in message.fields if isinstance(each.value, Message)]


def _kinds() -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    waiting: list[Descriptor] = [onnx.ModelProto.DESCRIPTOR, onnx.TensorProto.DESCRIPTOR]
    while waiting:
        descriptor = waiting.pop()
        kind = descriptor.full_name.removeprefix("onnx.")
        if kind in found:
            continue
        fields = descriptor.fields
        inner = {each.number: each.message_type for each in fields if each.message_type}
        waiting += inner.values()
        names = {n: each.full_name.removeprefix("onnx.") for n, each in inner.items()}
        found[kind] = Kind(
            {each.number: names.get(each.number, "") for each in fields},
            frozenset(each.number for each in fields if each.type == each.TYPE_STRING),
            frozenset(each.number for each in fields if each.is_repeated),
        )
    return found


KINDS = _kinds()
