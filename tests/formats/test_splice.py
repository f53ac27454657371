"""Parts of another length: the result is what protobuf itself would have written."""

from collections.abc import Iterator
from typing import Any

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxprune.formats.splice import Shift, Splice
from onnxprune.formats.wire import Frame
from tests.formats.files_made import varint

LENGTHS = st.one_of(
    st.integers(0, 3), st.integers(100, 131), st.integers(16_300, 16_390), st.integers(0, 300)
)
TEXTS = st.tuples(st.sampled_from("abc"), LENGTHS).map(lambda made: made[0] * made[1])


@st.composite
def graphs(draw: st.DrawFn, depth: int) -> onnx.GraphProto:
    graph = onnx.GraphProto(name=draw(TEXTS))
    for _ in range(draw(st.integers(0, 2))):
        initializer = graph.initializer.add(name="w", dims=[3, 4], data_type=1)
        for text in draw(st.lists(TEXTS, max_size=3)):
            initializer.external_data.add(key="k", value=text)
    if depth:
        attribute = graph.node.add(op_type="If").attribute.add(name="then_branch")
        attribute.g.CopyFrom(draw(graphs(depth - 1)))
    return graph


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    model = onnx.ModelProto(ir_version=10, producer_name=draw(TEXTS))
    model.graph.CopyFrom(draw(graphs(draw(st.integers(0, 3)))))
    for text in draw(st.lists(TEXTS, max_size=2)):
        model.metadata_props.add(key="k", value=text)
    return model


def entries(message: Any) -> Iterator[onnx.StringStringEntryProto]:
    """Yield the entries of a proto in the order in which it is written."""
    for _, value in message.ListFields():
        for part in value if hasattr(value, "__len__") else [value]:
            if isinstance(part, onnx.StringStringEntryProto):
                yield part
            elif hasattr(part, "ListFields"):
                yield from entries(part)


def leaves(data: bytes, message: Any, frame: Frame) -> Iterator[Frame]:
    """Yield the frames of the values of the entries, in the same order."""
    at = frame.start
    while at < frame.end:
        tag, at = number_at(data, at)
        length_at = at
        length, at = number_at(data, at)
        if tag & 7 == 2:
            inner = Frame(frame, length_at, at, at + length)
            at = inner.end
            kind = message.fields_by_number[tag >> 3]
            if message.name == "StringStringEntryProto" and kind.name == "value":
                yield inner
            elif kind.message_type is not None:
                yield from leaves(data, kind.message_type, inner)


def number_at(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def applied(data: bytes, splices: list[Splice]) -> bytes:
    """Put every part where the shift says; what lies between must be where it says, too."""
    shift = Shift(splices)
    result = bytearray(b"?" * shift(len(data)))
    at = 0
    for to, edit in shift.moved():
        result[shift(at) : shift(at) + edit.start - at] = data[at : edit.start]
        result[to : to + len(edit.data)] = edit.data
        at = edit.end
    result[shift(at) :] = data[at:]
    return bytes(result)


@given(models(), st.data())
@settings(max_examples=300, deadline=None)
def test_replaced_texts_are_written_as_protobuf_writes_them(
    model: onnx.ModelProto, draw: st.DataObject
) -> None:
    data = model.SerializeToString()
    frames = list(leaves(data, model.DESCRIPTOR, Frame(None, 0, 0, len(data))))
    changed = onnx.ModelProto.FromString(data)
    splices = []
    for frame, entry in zip(frames, entries(changed), strict=True):
        assert data[frame.start : frame.end].decode() == entry.value
        if draw.draw(st.booleans()):
            entry.value = draw.draw(TEXTS)
            splices.append(Splice(frame.start, frame.end, entry.value.encode(), frame))
    order = draw.draw(st.permutations(splices))
    assert applied(data, order) == changed.SerializeToString()


@given(models(), st.data())
@settings(deadline=None)
def test_parts_of_a_text_may_be_replaced_one_by_one(
    model: onnx.ModelProto, draw: st.DataObject
) -> None:
    data = model.SerializeToString()
    frames = list(leaves(data, model.DESCRIPTOR, Frame(None, 0, 0, len(data))))
    changed = onnx.ModelProto.FromString(data)
    splices = []
    for frame, entry in zip(frames, entries(changed), strict=True):
        size = len(entry.value)
        a, b, c, d = sorted(draw.draw(st.integers(0, size)) for _ in range(4))
        if b == c:
            continue
        first, second = draw.draw(TEXTS), draw.draw(TEXTS)
        entry.value = "".join(
            (entry.value[:a], first, entry.value[b:c], second, entry.value[d:])
        )
        start = frame.start
        splices.append(Splice(start + a, start + b, first.encode(), frame))
        splices.append(Splice(start + c, start + d, second.encode(), frame))
    assert applied(data, splices) == changed.SerializeToString()


def nested(depth: int, inner: bytes) -> bytes:
    for _ in range(depth):
        inner = b"\x0a" + varint(len(inner)) + inner
    return inner


def test_a_byte_more_can_lengthen_every_prefix_around_it() -> None:
    depth = 30
    data = nested(depth, b"x" * 60)
    frame = Frame(None, 0, 0, len(data))
    at = 0
    for _ in range(depth):
        length, start = number_at(data, at + 1)
        frame = Frame(frame, at + 1, start, start + length)
        at = start
    for count in (0, 1, 59, 60, 61, 127, 128, 200, 16_384):
        made = applied(data, [Splice(at, frame.end, b"y" * count, frame)])
        assert made == nested(depth, b"y" * count)


def test_a_prefix_that_was_overlong_is_written_short_if_it_changes() -> None:
    data = b"\x0a\x83\x80\x00abc\x12\x81\x00d"
    whole = Frame(None, 0, 0, len(data))
    first = Frame(whole, 1, 4, 7)
    assert applied(data, [Splice(4, 7, b"xyz", first)]) == b"\x0a\x83\x80\x00xyz\x12\x81\x00d"
    assert applied(data, [Splice(4, 7, b"wxyz", first)]) == b"\x0a\x04wxyz\x12\x81\x00d"
    assert applied(data, []) == data


def test_parts_at_one_place_come_in_order_and_frames_are_known_by_their_place() -> None:
    data = nested(2, b"x" * 120)
    inner = Frame(Frame(Frame(None, 0, 0, len(data)), 1, 2, len(data)), 3, 4, len(data))
    again = Frame(Frame(None, 0, 0, len(data)), 1, 2, len(data))
    end = len(data)
    splices = [
        Splice(4, 8, b"y" * 6, inner),
        Splice(end, end, b"first", inner),
        Splice(end, end, b"second", again),
        Splice(end, end, b"third", again),
    ]
    content = nested(1, b"y" * 6 + b"x" * 116 + b"first") + b"secondthird"
    assert applied(data, splices) == nested(1, content)
