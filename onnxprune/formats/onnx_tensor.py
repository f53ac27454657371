"""Finds where one TensorProto keeps its data, without reading the data."""

from dataclasses import dataclass, field

from onnxprune.errors import InputError, LimitError, UnsupportedError
from onnxprune.formats.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    WINDOW,
    Frame,
    Reader,
    encode_field,
    encode_varint,
    open_frame,
    signed,
    truncated,
)

INLINE = 1024
"""Tensors of up to this many data bytes stay whole in the skeleton (shapes, scalars)."""

NAME_LIMIT = 4096
PIECE_LIMIT = 1 << 20
"""One tensor's data may lie in so many places."""

DATA_FIELDS = {
    4: "float_data",
    5: "int32_data",
    6: "string_data",
    7: "int64_data",
    9: "raw_data",
    10: "double_data",
    11: "uint64_data",
}
LOCATION_FIELDS = {(13, BYTES), (14, VARINT)}
FIXED_WIDTH = {4: (FIXED32, 4), 10: (FIXED64, 8)}
SKELETON_DATA = encode_field(13, encode_field(1, b"location") + encode_field(2, b"#"))
SKELETON_DATA += encode_varint(14 << 3 | VARINT) + b"\x01"


@dataclass(frozen=True, slots=True)
class Run:
    """Values of one width in the file: the first at `start`, then one every `step` bytes."""

    start: int
    count: int
    step: int


@dataclass(frozen=True, slots=True, eq=False)
class Varints:
    """Values of varying width between two offsets; `frame` is what they lie in."""

    frame: Frame
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class External:
    """What a tensor says of its external data, and where it says it."""

    entries: dict[str, str]
    places: dict[str, Frame]


@dataclass(slots=True, eq=False)
class TensorRecord:
    """One TensorProto as it lies in the file (or the floats of an attribute)."""

    address: tuple[int, ...]
    frame: Frame
    name: str = ""
    data_type: int = 0
    dims: list[int] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    varints: list[Varints] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    external: External | None = None
    unknown: int = 0

    def data_bytes(self) -> int:
        """Count the bytes of data that lie in the message itself."""
        fixed = sum(run.count * run.step for run in self.runs)
        return fixed + sum(piece.end - piece.start for piece in self.varints)


class TensorScan:
    """Walks one TensorProto; `record` is what it found, `skeleton` the rest of the message."""

    def __init__(self, reader: Reader, frame: Frame, address: tuple[int, ...]) -> None:
        self.reader = reader
        self.frame = frame
        self.record = TensorRecord(address, frame)
        self._kept: list[tuple[int, int]] = []
        self._entries: list[Frame] = []
        self._location = 0
        self._walk()
        if self._entries and self._location != 1:
            name = self.record.name
            raise InputError(f"'{name}': external data, but its data_location is not EXTERNAL")
        if self._location == 1:
            self._read_entries()

    def skeleton(self) -> bytes | None:
        """Return the message without its bulk, or None if all of it may stay."""
        record = self.record
        if record.external is None and record.data_bytes() <= INLINE:
            return None
        kept = b"".join(self.reader.bytes(start, end) for start, end in self._kept)
        return kept + SKELETON_DATA

    def _walk(self) -> None:
        at, end = self.frame.start, self.frame.end
        seen: set[int] = set()
        while at < end:
            begin = at
            tag, at = self.reader.tag(at, end)
            number, wire = tag >> 3, tag & 7
            if number in (2, 8, 9, 14) and number in seen:
                raise InputError(f"a tensor has its field {number} twice")
            seen.add(number)
            if number in DATA_FIELDS:
                at = self._data(number, wire, at, begin)
            elif wire == BYTES:
                at = self._delimited(number, at)
            else:
                at = self._plain(number, wire, at)
            if number not in DATA_FIELDS and (number, wire) not in LOCATION_FIELDS:
                self._kept.append((begin, at))

    def _plain(self, number: int, wire: int, at: int) -> int:
        if wire != VARINT:
            self.record.unknown += 1
            return self.reader.skip(wire, at, self.frame.end)
        value, at = self.reader.varint(at, self.frame.end)
        if number == 1:
            self.record.dims.append(signed(value))
        elif number == 2:
            self.record.data_type = value
        elif number == 14:
            self._location = value
        else:
            self.record.unknown += 1
        return at

    def _delimited(self, number: int, at: int) -> int:
        inner = open_frame(self.reader, self.frame, at)
        if number == 1:
            position = inner.start
            while position < inner.end:
                value, position = self.reader.varint(position, inner.end)
                self.record.dims.append(signed(value))
        elif number == 3:
            raise UnsupportedError("segmented tensors are not taken", "re-export the model")
        elif number == 8:
            self.record.name = read_name(self.reader, inner)
        elif number == 13:
            self._entries.append(inner)
        elif number not in (12, 16):
            self.record.unknown += 1
        return inner.end

    def _data(self, number: int, wire: int, at: int, begin: int) -> int:
        record = self.record
        if len(record.runs) + len(record.varints) >= PIECE_LIMIT:
            raise LimitError(f"the data of a tensor is in more than {PIECE_LIMIT:,} pieces")
        if DATA_FIELDS[number] not in record.fields:
            record.fields.append(DATA_FIELDS[number])
        if wire == BYTES:
            inner = open_frame(self.reader, self.frame, at)
            if number in FIXED_WIDTH:
                width = FIXED_WIDTH[number][1]
                count, rest = divmod(inner.end - inner.start, width)
                if rest:
                    raise InputError(f"packed {DATA_FIELDS[number]} is not whole values")
                record.runs.append(Run(inner.start, count, width))
            elif number == 9:
                record.runs.append(Run(inner.start, inner.end - inner.start, 1))
            elif number == 6:  # strings are not looked at: one span covers them all
                first = record.varints[0].start if record.varints else inner.start
                record.varints = [Varints(self.frame, first, inner.end)]
            else:
                self._check_last(inner)
                record.varints.append(Varints(inner, inner.start, inner.end))
            return inner.end
        if number in FIXED_WIDTH and wire == FIXED_WIDTH[number][0]:
            run, behind = unpacked_run(self.reader, begin, self.frame.end, at - begin, wire)
            record.runs.append(run)
            return behind
        if wire == VARINT and number in (5, 7, 11):
            behind = self.reader.varint(at, self.frame.end)[1]
            record.varints.append(Varints(self.frame, at, behind))
            return behind
        raise truncated()

    def _check_last(self, packed: Frame) -> None:
        """Refuse numbers that go on behind their field: protobuf would not join them."""
        last = self.reader.bytes(max(packed.start, packed.end - 1), packed.end)
        if last and last[0] & 0x80:
            raise truncated()

    def _read_entries(self) -> None:
        entries: dict[str, str] = {}
        places: dict[str, Frame] = {}
        for entry in self._entries:
            texts: dict[int, Frame] = {}
            at = entry.start
            while at < entry.end:
                tag, at = self.reader.tag(at, entry.end)
                if tag & 7 != BYTES:
                    at = self.reader.skip(tag & 7, at, entry.end)
                    continue
                texts[tag >> 3] = inner = open_frame(self.reader, entry, at)
                at = inner.end
            key = read_name(self.reader, texts[1]) if 1 in texts else ""
            if key in entries:
                raise InputError(f"external data key '{key}' is given twice")
            entries[key] = read_name(self.reader, texts[2]) if 2 in texts else ""
            if 2 in texts:
                places[key] = texts[2]
        self.record.external = External(entries, places)


def read_name(reader: Reader, frame: Frame) -> str:
    """Read a short text; names are UTF-8 and of bounded length."""
    length = frame.end - frame.start
    if length > NAME_LIMIT:
        raise LimitError(f"a name is {length:,} bytes long (the limit is {NAME_LIMIT:,})")
    try:
        return reader.bytes(frame.start, frame.end).decode()
    except UnicodeDecodeError as error:
        raise InputError("a name is not valid UTF-8") from error


def unpacked_run(
    reader: Reader, begin: int, end: int, tag_width: int, wire: int
) -> tuple[Run, int]:
    """Follow values written one by one, each behind the same tag; return them and their end."""
    width = 4 if wire == FIXED32 else 8
    step = tag_width + width
    tag = reader.bytes(begin, begin + tag_width)
    count = 0
    while True:
        # Few at first: short runs must not cost a look at a whole window each.
        room = min((end - begin) // step - count, WINDOW // step, 2 * count + 4)
        if room <= 0:
            break
        piece = reader.bytes(begin + count * step, begin + (count + room) * step)
        same = _leading_tags(piece, tag, step, room)
        count += same
        if same < room:
            break
    if count == 0:
        raise truncated()
    return Run(begin + tag_width, count, step), begin + count * step


def _leading_tags(piece: bytes, tag: bytes, step: int, room: int) -> int:
    same = room
    for index, byte in enumerate(tag):
        column = piece[index::step]
        if column != bytes([byte]) * room:
            differing = next(i for i, other in enumerate(column) if other != byte)
            same = min(same, differing)
    return same
