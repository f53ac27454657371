"""A tensor's message without its dimensions and data: written again with others of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnxprune.formats.onnx_tensor import DATA_FIELDS, TensorRecord
from onnxprune.formats.wire import (
    BYTES,
    VARINT,
    Frame,
    Reader,
    encode_varint,
    parts_of,
)

DIMS, DATA_TYPE, RAW = 1, 2, 9
EXTERNAL = (13, 14)
PACKED = {"float_data": 4, "double_data": 10}
"""Fields with values of a fixed width, which are written one behind the other."""


@dataclass(frozen=True, slots=True)
class Shell:
    """What a tensor's message has around its dimensions and its data, in order.

    Args:
        before: what comes before the first of the two; `between`: what lies between them.
        between: see above.
        after: what comes behind the second.
        field: the number of the data's field.
        dims_first: whether the dimensions come before the data.
    """

    before: bytes
    between: bytes
    after: bytes
    field: int
    dims_first: bool = True

    def around(self, dims: Sequence[int], size: int) -> tuple[bytes, bytes]:
        """Return what comes before the data and what comes behind it.

        Args:
            dims: the dimensions.
            size: the bytes of the data.
        """
        sizes = numbers(DIMS, dims)
        data = encode_varint(self.field << 3 | BYTES) + encode_varint(size)
        if self.dims_first:
            return self.before + sizes + self.between + data, self.after
        return self.before + data, self.between + sizes + self.after

    def is_whole(self, reader: Reader, record: TensorRecord) -> bool:
        """Whether a tensor's message is, byte for byte, what this writes around its data."""
        frame = record.frame
        if len(record.runs) != 1 or record.varints:
            return False
        run = record.runs[0]
        head, tail = self.around(record.dims, run.count * run.step)
        start, end = run.start, run.start + run.count * run.step
        return (
            start - frame.start == len(head)
            and frame.end - end == len(tail)
            and reader.bytes(frame.start, start) == head
            and reader.bytes(end, frame.end) == tail
        )


def shell_of(reader: Reader, record: TensorRecord) -> Shell:
    """Return the shell of a tensor; data that are not in one plain piece become raw ones."""
    plain = len(record.runs) == 1 and record.fields and record.fields[0] in PACKED
    pieces = [b"", b"", b""]
    slots: list[int] = []
    for part in parts_of(reader, record.frame):
        slot = RAW if part.number in DATA_FIELDS else part.number
        if slot in (DIMS, RAW):
            if slot not in slots:
                slots.append(slot)
        elif part.number not in EXTERNAL:
            pieces[len(slots)] += reader.bytes(part.begin, part.end)
    slots += [slot for slot in (DIMS, RAW) if slot not in slots]
    field = PACKED[record.fields[0]] if plain else RAW
    return Shell(pieces[0], pieces[1], pieces[2], field, slots[0] == DIMS)


def is_plain(reader: Reader, frame: Frame | None, tag: bytes) -> bool:
    """Whether a field and those around it are written as briefly as can be.

    Args:
        reader: of the file.
        frame: of the field.
        tag: what it has to begin with.
    """
    assert frame is not None
    if reader.bytes(frame.length_at - len(tag), frame.length_at) != tag:
        return False
    while frame is not None and frame.parent is not None:
        length = encode_varint(frame.end - frame.start)
        if reader.bytes(frame.length_at, frame.start) != length:
            return False
        frame = frame.parent
    return True


def indices_shell(count: int) -> bytes:
    """Write what a tensor of so many indices has before its data."""
    kind = encode_varint(DATA_TYPE << 3 | VARINT) + b"\x07"
    data = encode_varint(RAW << 3 | BYTES) + encode_varint(8 * count)
    return numbers(DIMS, [count]) + kind + data


def numbers(field: int, values: Sequence[int]) -> bytes:
    """Write a repeated field of numbers, one by one."""
    tag = encode_varint(field << 3 | VARINT)
    return b"".join(tag + encode_varint(value) for value in values)


def opening(field: int, length: int) -> bytes:
    """Write what a field of so many bytes begins with."""
    return encode_varint(field << 3 | BYTES) + encode_varint(length)
