"""Any message that can be built is scanned as a naive parser reads it; any bytes are refused."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnxprune.errors import OnnxpruneError
from onnxprune.formats import onnx_wire
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.onnx_tensor import TensorRecord
from onnxprune.formats.onnx_wire import Scan
from tests.formats.protos import bare
from tests.fuzz.trees import BYTES, FIXED32, FIXED64, VARINT, Field, Message, read_varint

FIXED = {4: (FIXED32, 4), 10: (FIXED64, 8)}
WIDTHS = st.tuples(st.integers(1, 5), st.integers(1, 5))
NAMES = st.text(max_size=6).map(str.encode)
NUMBERS = st.one_of(st.integers(0, 3), st.integers(0, (1 << 64) - 1))
MESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
}
"""The messages that a tensor may lie in."""


@dataclass
class Naive:
    """What a parser that looks at one value after the other finds of a tensor.

    Args:
        values: where each value of fixed width begins, each byte of raw data.
        pieces: where numbers of varying width, or texts, begin and end.
    """

    dims: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    pieces: list[tuple[int, int]] = field(default_factory=list)
    name: bytes = b""
    data_type: int = 0


def fields_of(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Go through fields: number, wire type, where each begins, and its content."""
    while at < end:
        begin = at
        tag, at = read_varint(data, at) or (0, end)
        wire, start = tag & 7, at
        if wire == VARINT:
            at = (read_varint(data, at) or (0, end))[1]
        elif wire == BYTES:
            length, start = read_varint(data, at) or (0, end)
            at = start + length
        else:
            at += 8 if wire == FIXED64 else 4
        yield tag >> 3, wire, begin, start, at


def naive(data: bytes) -> dict[tuple[int, ...], Naive]:
    """Find all tensors, and the floats of attributes, by address."""
    found: dict[tuple[int, ...], Naive] = {}
    _look(data, "model", (0, len(data)), (), found)
    return found


def _look(
    data: bytes,
    kind: str,
    place: tuple[int, int],
    address: tuple[int, ...],
    found: dict[tuple[int, ...], Naive],
) -> None:
    counts: dict[int, int] = {}
    floats = Naive(data_type=1)
    for number, wire, _, start, end in fields_of(data, *place):
        inner = MESSAGES[kind].get(number)
        if kind == "attribute" and number == 7:
            floats.values += range(start, end, 4)
        if inner is None or wire != BYTES:
            continue
        own = (*address, number, counts.get(number, 0))
        counts[number] = counts.get(number, 0) + 1
        if inner == "tensor":
            found[own] = _tensor(data, start, end)
        else:
            _look(data, inner, (start, end), own, found)
    if len(floats.values) > 1:
        floats.dims = [len(floats.values)]
        found[*address, 7, 0] = floats


def _tensor(data: bytes, at: int, end: int) -> Naive:
    found = Naive()
    for number, wire, _, start, stop in fields_of(data, at, end):
        if number == 1 and wire == VARINT:
            found.dims.append((read_varint(data, start) or (0, 0))[0])
        elif number == 1:
            while start < stop:
                size, start = read_varint(data, start) or (0, stop)
                found.dims.append(size)
        elif number == 2:
            found.data_type = (read_varint(data, start) or (0, 0))[0]
        elif number == 8:
            found.name = data[start:stop]
        elif number in (4, 10):
            found.values += range(start, stop, FIXED[number][1])
        elif number == 9:
            found.values += range(start, stop)
        elif number in (5, 7, 11):
            found.pieces.append((start, stop))
    return found


def scanned(data: bytes) -> Scan:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return onnx_wire.scan(file.fileno(), len(data))


def as_naive(record: TensorRecord) -> Naive:
    return Naive(
        [size & (1 << 64) - 1 for size in record.dims],
        [run.start + place * run.step for run in record.runs for place in range(run.count)],
        [(piece.start, piece.end) for piece in record.varints],
        record.name.encode(),
        record.data_type,
    )


@st.composite
def plain(draw: st.DrawFn, number: int, value: Any) -> Field:
    wire = VARINT if isinstance(value, int) else BYTES
    return Field(number, wire, value, draw(WIDTHS))


@st.composite
def of_data(draw: st.DrawFn) -> list[Field]:
    """Draw the data fields of a tensor: raw, or values packed and unpacked in any order."""
    number = draw(st.sampled_from([4, 5, 7, 9, 10, 11]))
    if number == 9:
        length = draw(st.sampled_from([0, 1, 8, 1023, 1024, 1025, 2000]))
        return [draw(plain(9, bytes(length)))]
    made = []
    for packed, values in draw(
        st.lists(st.tuples(st.booleans(), st.lists(NUMBERS, max_size=5)), max_size=5)
    ):
        wire, width = FIXED.get(number, (VARINT, 0))
        parts = [
            Field(0, VARINT, value).encoded[1:]
            if wire == VARINT
            else (value & (1 << 8 * width) - 1).to_bytes(width, "little")
            for value in values * draw(st.sampled_from([1, 1, 70]))
        ]
        if packed:
            made.append(draw(plain(number, b"".join(parts))))
        else:
            widths = draw(WIDTHS)
            made += [Field(number, wire, part, (widths[0], 1)) for part in parts]
    return made


@st.composite
def tensors(draw: st.DrawFn) -> Message:
    dims = draw(st.lists(NUMBERS, max_size=4))
    head = [draw(plain(1, size)) for size in dims]
    if draw(st.booleans()):
        packed = b"".join(Field(0, VARINT, size).encoded[1:] for size in dims)
        head = [draw(plain(1, packed))]
    head.append(draw(plain(2, draw(st.integers(0, 30)))))
    head.append(draw(plain(8, draw(NAMES))))
    head.append(draw(plain(draw(st.sampled_from([12, 16, 99])), b"\x0a\x01k")))
    groups = draw(st.permutations([[each] for each in head] + [draw(of_data())]))
    return Message("tensor", tuple(each for group in groups for each in group))


@st.composite
def messages(draw: st.DrawFn, kind: str, depth: int = 0) -> Message:
    """Draw a message that has tensors in it, at any depth."""
    fields = []
    for number, inner in MESSAGES[kind].items():
        single = (
            number in (5, 6, 22) if kind == "attribute" else kind in ("sparse", "training")
        )
        most = 1 if single or kind == "model" else 2
        for _ in range(draw(st.integers(0, most if depth < 5 else 0))):
            made = draw(tensors() if inner == "tensor" else messages(inner, depth + 1))
            fields.append(draw(plain(number, made)))
    if kind == "attribute":
        fields += [Field(7, FIXED32, b"\0\0\0\1")] * draw(st.integers(0, 3))
    fields.append(draw(plain(100, b"unknown")))
    return Message(kind, tuple(draw(st.permutations(fields))))


@given(messages("model"))
@settings(max_examples=80, deadline=None)
def test_a_scan_finds_what_a_naive_parser_finds(model: Message) -> None:
    data = model.encoded
    found = scanned(data)
    wanted = naive(data)
    assert found.tensors.keys() == wanted.keys()
    for address, record in found.tensors.items():
        assert as_naive(record) == wanted[address]
    whole, skeleton = (onnx.ModelProto.FromString(each) for each in (data, found.skeleton))
    assert bare(skeleton) == bare(whole)


@given(st.binary(max_size=200))
@example(b"\x3a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_scanned_or_refused(data: bytes) -> None:
    try:
        scanned(data)
    except OnnxpruneError as error:
        assert error.message


@given(messages("model"), st.data())
@settings(max_examples=50, deadline=None)
def test_a_message_with_other_bytes_in_it_is_loaded_or_refused(
    model: Message, data: st.DataObject
) -> None:
    content = b"\x08\x0a" + model.encoded
    at = data.draw(st.integers(0, len(content)))
    gone = data.draw(st.integers(0, 3))
    changed = content[:at] + data.draw(st.binary(max_size=3)) + content[at + gone :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(changed)
        with pytest.raises(OnnxpruneError):  # there is no opset in it
            load_onnx(path)
