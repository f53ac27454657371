"""Varints, fields and windows: protobuf's wire format below ONNX."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from google.protobuf import struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxprune.errors import InputError
from onnxprune.formats.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    WINDOW,
    Reader,
    encode_field,
    encode_varint,
    read_exactly,
    signed,
)
from tests.formats.files_made import varint

UINT64 = st.integers(0, (1 << 64) - 1)
BORDERS = st.integers(-12, 12).map(lambda gap: WINDOW + gap)


@contextmanager
def reading(data: bytes) -> Iterator[Reader]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield Reader(file.fileno(), len(data))


def pattern(count: int) -> bytes:
    return bytes(index * 7 % 251 for index in range(count))


@given(UINT64)
@settings(deadline=None)
def test_a_varint_is_written_as_protobuf_writes_it(number: int) -> None:
    assert encode_varint(number) == varint(number)


@given(UINT64, st.integers(1, 10))
@settings(deadline=None)
def test_a_varint_comes_back_from_any_width(number: int, width: int) -> None:
    written = encode_varint(number, width)
    assert len(written) == max(width, len(varint(number)))
    with reading(b"\xff" + written + b"\xff") as reader:
        assert reader.varint(1, reader.size) == (number, 1 + len(written))


@given(UINT64, st.integers(1, 10), BORDERS)
@settings(deadline=None)
def test_a_varint_comes_back_across_the_border_of_a_window(
    number: int, width: int, at: int
) -> None:
    written = encode_varint(number, width)
    with reading(bytes(at) + written + b"\x01") as reader:
        assert reader.varint(0, reader.size) == (0, 1)
        assert reader.varint(at, reader.size) == (number, at + len(written))
        assert reader.varint(at + len(written), reader.size) == (1, reader.size)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
@settings(deadline=None)
def test_a_negative_number_comes_back_from_its_64_bits(number: int) -> None:
    assert signed(number & (1 << 64) - 1) == number


@given(st.text(max_size=300))
@settings(deadline=None)
def test_a_field_is_written_as_protobuf_writes_it(text: str) -> None:
    proto = struct_pb2.Value(string_value=text) if text else None
    written = encode_field(3, text.encode())
    assert written == (proto.SerializeToString() if proto else b"\x1a\x00")


@given(UINT64, st.integers(1, 10), st.integers(1, 10))
@settings(deadline=None)
def test_a_varint_that_breaks_off_is_bad_input(number: int, width: int, gone: int) -> None:
    written = encode_varint(number, width)
    kept = max(0, len(written) - gone)
    with reading(b"\x01" + written[:kept]) as reader, pytest.raises(InputError):
        reader.varint(1, reader.size)
    with reading(b"\x01" + written + b"\x01") as reader, pytest.raises(InputError):
        reader.varint(1, 1 + kept)


def test_a_varint_of_eleven_bytes_is_bad_input() -> None:
    with reading(b"\x80" * 10 + b"\x01") as reader, pytest.raises(InputError):
        reader.varint(0, reader.size)


def test_bits_beyond_the_64th_are_dropped_as_protobuf_drops_them() -> None:
    with reading(b"\xff" * 9 + b"\x7f") as reader:
        assert reader.varint(0, 10) == ((1 << 64) - 1, 10)


def test_there_is_no_varint_behind_the_end_of_a_file() -> None:
    with reading(b"\x01") as reader:
        for at in (1, 2, WINDOW, 1 << 40):
            with pytest.raises(InputError):
                reader.varint(at, reader.size)


@given(st.lists(st.tuples(BORDERS, st.integers(0, 40)), max_size=8))
@settings(deadline=None)
def test_bytes_are_the_same_in_whatever_order_they_are_read(
    ranges: list[tuple[int, int]],
) -> None:
    data = pattern(WINDOW + 64)
    with reading(data) as reader:
        for start, count in ranges:
            assert reader.bytes(start, start + count) == data[start : start + count]
            assert reader.bytes(0, count) == data[:count]


@pytest.mark.parametrize("count", [WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW])
def test_bytes_may_be_longer_than_a_window(count: int) -> None:
    data = pattern(count + 9)
    with reading(data) as reader:
        assert reader.bytes(0, 5) == data[:5]
        assert reader.bytes(5, 5 + count) == data[5 : 5 + count]


@pytest.mark.parametrize("count", [2, WINDOW + 2])
def test_a_file_that_got_shorter_is_bad_input(count: int) -> None:
    with reading(bytes(count)) as reader:
        with pytest.raises(InputError, match="changed while it was read"):
            reader.bytes(1, count + 1)
        with pytest.raises(InputError, match="changed while it was read"):
            read_exactly(reader.descriptor, 1, count)


def test_values_of_each_wire_type_are_skipped() -> None:
    with reading(b"\x80\x01" + bytes(12)) as reader:
        assert reader.skip(VARINT, 0, reader.size) == 2
        assert reader.skip(FIXED64, 2, reader.size) == 10
        assert reader.skip(FIXED32, 10, reader.size) == 14


@pytest.mark.parametrize("wire", [BYTES, 3, 4, 6, 7])
def test_groups_and_unknown_wire_types_are_bad_input(wire: int) -> None:
    with reading(bytes(20)) as reader, pytest.raises(InputError):
        reader.skip(wire, 0, reader.size)


@pytest.mark.parametrize(("wire", "width"), [(FIXED64, 8), (FIXED32, 4)])
def test_a_fixed_value_that_breaks_off_is_bad_input(wire: int, width: int) -> None:
    with reading(bytes(width)) as reader:
        assert reader.skip(wire, 0, width) == width
        with pytest.raises(InputError):
            reader.skip(wire, 1, width)


@pytest.mark.parametrize("width", range(1, 12))
def test_tags_and_lengths_are_as_wide_as_protobuf_takes_them(width: int) -> None:
    written = varint(2 << 3 | BYTES, width)
    with reading(written + b"\x03") as reader:
        for read in (reader.tag, reader.length):
            if width <= 5:
                assert read(0, reader.size) == (18, width)
            else:
                with pytest.raises(InputError):
                    read(0, reader.size)


@pytest.mark.parametrize("number", [0, 1 << 29, 1 << 40])
def test_a_field_number_is_one_that_protobuf_knows(number: int) -> None:
    with reading(varint(number << 3 | BYTES)) as reader, pytest.raises(InputError):
        reader.tag(0, reader.size)
