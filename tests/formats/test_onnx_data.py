"""The values of a tensor, wherever and however the file holds them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnxprune.errors import OnnxpruneError
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from tests.formats.files_made import (
    BFLOAT16,
    DOUBLE,
    ENCODINGS,
    FLOAT,
    FLOAT16,
    INT8,
    NAMES,
    UINT8,
    Array,
    field,
    graph_of,
    model_of,
    number_field,
    one_weight,
    outside,
    pieces,
    real,
    scaling,
    some,
    tensor,
    unpacked,
    varint,
)

SHAPE = (6, 50)
SCALE = np.array([0.5], np.float32)


def opened(folder: Path, content: bytes) -> OnnxModel:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return load_onnx(path)


def with_scaling(kind: int, weight: bytes, zero: int = 0) -> bytes:
    if kind not in (INT8, UINT8):
        return one_weight(kind, weight, SHAPE)
    return one_weight(kind, weight, SHAPE, *scaling(kind, np.array([zero]), SCALE))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", NAMES, ids=NAMES.values())
def test_every_way_to_store_values_gives_them_back(
    tmp_path: Path, kind: int, encoding: str
) -> None:
    values = some(kind, SHAPE)
    with opened(tmp_path, with_scaling(kind, tensor("w", kind, values, encoding))) as model:
        (weight,) = model.weights
        assert (weight.path, weight.shape, weight.size) == ("w", SHAPE, values.size)
        stored = model.stored("w")
        assert stored.stored(0, values.size).tobytes() == values.tobytes()
        for start, stop in ((0, 1), (1, 4), (2, 299), (99, 101), (299, 300)):
            part = values.reshape(-1)[start:stop]
            assert stored.stored(start, stop).tobytes() == part.tobytes()


@pytest.mark.parametrize("kind", [FLOAT, DOUBLE, FLOAT16, BFLOAT16])
def test_real_values_are_exact(tmp_path: Path, kind: int) -> None:
    values = some(kind, SHAPE)
    with opened(tmp_path, with_scaling(kind, tensor("w", kind, values))) as model:
        found = model.values("w", 0, values.size)
        assert found.dtype == (np.float64 if kind == DOUBLE else np.float32)
        assert np.array_equal(found.astype(np.float64), real(kind, values).reshape(-1))


@pytest.mark.parametrize(("kind", "zero"), [(INT8, 0), (INT8, -3), (UINT8, 0), (UINT8, 128)])
def test_quantised_values_are_the_distance_to_the_zero_point_times_the_scale(
    tmp_path: Path, kind: int, zero: int
) -> None:
    values = some(kind, SHAPE)
    with opened(tmp_path, with_scaling(kind, tensor("w", kind, values), zero)) as model:
        expected = (values.astype(np.float64) - zero) * 0.5
        assert np.array_equal(model.values("w", 0, values.size), expected.reshape(-1))


def test_every_channel_has_its_own_scale_and_zero_point(tmp_path: Path) -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    zero, scale = np.array([1, 2, 9]), np.array([1.0, 0.5, 2.0])
    weight = tensor("w", UINT8, values)
    content = one_weight(UINT8, weight, (2, 3), *scaling(UINT8, zero, scale))
    with opened(tmp_path, content) as model:
        assert model.values("w", 0, 6).tolist() == [0.0, 0.0, -12.0, 3.0, 1.5, -6.0]
        assert model.values("w", 2, 5).tolist() == [-12.0, 3.0, 1.5]


@pytest.mark.parametrize(
    ("shape", "axis", "block"),
    [((6, 50), 0, 4), ((6, 50), 1, 7), ((4, 1), 1, 2), ((2, 8), 1, 8)],
)
def test_every_block_has_its_own_scale_and_zero_point(
    tmp_path: Path, shape: tuple[int, int], axis: int, block: int
) -> None:
    values = some(INT8, shape)
    counts = list(shape)
    counts[axis] = -(-shape[axis] // block)
    zero = np.arange(np.prod(counts)).reshape(counts)
    scale = 1 + zero / 8
    graph = graph_of(INT8, shape)
    del graph.node[0].attribute[:]
    made = {"axis": axis, "block_size": block}
    graph.node[0].attribute.extend(helper.make_attribute(*pair) for pair in made.items())
    content = model_of([tensor("w", INT8, values), *scaling(INT8, zero, scale)], graph)
    spread = [np.repeat(each, block, axis)[: shape[0], : shape[1]] for each in (zero, scale)]
    expected = ((values - spread[0].astype(np.float64)) * spread[1]).reshape(-1)
    with opened(tmp_path, content) as model:
        assert np.array_equal(model.values("w", 0, values.size), expected)
        assert np.array_equal(model.values("w", 1, 3), expected[1:3])


@pytest.mark.parametrize("wide", [False, True], ids=["short", "overlong"])
@pytest.mark.parametrize("kind", [FLOAT16, BFLOAT16, INT8, UINT8], ids=NAMES.get)
def test_varints_may_be_overlong(tmp_path: Path, kind: int, wide: bool) -> None:
    values = some(kind, SHAPE)
    parts = pieces(kind, values)
    if wide:
        # A continuation bit on the last byte, then a zero: the same number, one byte longer.
        parts = [p[:-1] + bytes([p[-1] | 0x80, 0]) if len(p) < 10 else p for p in parts]
    head = b"".join(number_field(1, size) for size in SHAPE) + number_field(2, kind)
    weight = head + field(5, b"".join(parts)) + field(8, b"w")
    with opened(tmp_path, with_scaling(kind, weight)) as model:
        assert model.stored("w").stored(0, values.size).tobytes() == values.tobytes()


def constant(attribute: bytes, shape: tuple[int, int] = SHAPE) -> bytes:
    """Write a model whose weight is an attribute of a Constant node."""
    graph = graph_of(FLOAT, shape)
    node = field(2, b"w") + field(4, b"Constant") + field(5, attribute)
    if b"value_floats" in attribute:
        graph.node[0].input[1] = "shaped"
        shaped = helper.make_node("Reshape", ["w", "shape"], ["shaped"])
        graph.node.insert(0, shaped)
        graph.initializer.append(helper.make_tensor("shape", 7, [2], shape))
    content = model_of([], graph)
    return content.replace(
        field(7, graph.SerializeToString()),
        field(7, field(1, node) + graph.SerializeToString()),
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_constant_node_gives_back_its_value(tmp_path: Path, encoding: str) -> None:
    values = some(FLOAT, SHAPE)
    value = field(5, tensor("ignored", FLOAT, values, encoding))
    attribute = field(1, b"value") + value + number_field(20, 4)
    with opened(tmp_path, constant(attribute)) as model:
        assert [weight.path for weight in model.weights] == ["w"]
        assert model.stored("w").stored(0, values.size).tobytes() == values.tobytes()


@pytest.mark.parametrize("how", ["unpacked", "packed", "both"])
def test_a_constant_node_gives_back_its_floats(tmp_path: Path, how: str) -> None:
    values = some(FLOAT, SHAPE)
    parts = pieces(FLOAT, values)
    border = {"unpacked": len(parts), "packed": 0, "both": 100}[how]
    floats = unpacked(7, 5, parts[:border])
    if border < len(parts):
        floats += field(7, b"".join(parts[border:]))
    attribute = field(1, b"value_floats") + floats + number_field(20, 6)
    if how == "unpacked":
        made = helper.make_attribute("value_floats", values.reshape(-1).tolist())
        assert made.SerializeToString() == attribute  # this is how onnx writes it
    with opened(tmp_path, constant(attribute)) as model:
        assert [weight.path for weight in model.weights] == ["w"]
        assert model.stored("w").stored(0, values.size).tobytes() == values.tobytes()


@given(
    before=st.binary(max_size=40),
    behind=st.binary(max_size=40),
    length=st.booleans(),
    range_=st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted),
)
@settings(deadline=None)
def test_external_values_lie_where_their_offset_says(
    tmp_path_factory: pytest.TempPathFactory,
    before: bytes,
    behind: bytes,
    length: bool,
    range_: list[int],
) -> None:
    folder = tmp_path_factory.mktemp("external")
    values = some(FLOAT, (3, 4))
    (folder / "w.bin").write_bytes(before + values.tobytes() + behind)
    entries: dict[str, object] = {"location": "w.bin"}
    if before:
        entries["offset"] = len(before)
    if length:
        entries["length"] = values.nbytes
    content = one_weight(FLOAT, outside("w", FLOAT, (3, 4), **entries), (3, 4))
    start, stop = range_
    with opened(folder, content) as model:
        if start < stop:
            part = model.stored("w").stored(start, stop)
            assert part.tobytes() == values.reshape(-1)[start:stop].tobytes()


def weight_of(kind: int, dims: tuple[int, ...], content: bytes) -> bytes:
    head = b"".join(number_field(1, size) for size in dims)
    return head + number_field(2, kind) + content + field(8, b"w")


RAW = bytes(128)
FLOATS = field(4, bytes(4)) * 31
BAD = {
    "t_raw_short": (weight_of(FLOAT, (4, 8), field(9, RAW[4:])), 3, "124 bytes"),
    "t_raw_odd": (weight_of(FLOAT, (4, 8), field(9, RAW[1:])), 3, "127 bytes"),
    "t_raw_long": (weight_of(FLOAT, (4, 8), field(9, RAW + b"0000")), 3, "132 bytes"),
    "t_raw_none": (weight_of(FLOAT, (4, 8), b""), 3, "no data for 32 elements"),
    "t_two_fields": (weight_of(FLOAT, (4, 8), field(9, RAW) + FLOATS), 3, "more than one"),
    "t_wrong_field": (weight_of(FLOAT, (4, 8), field(7, RAW)), 3, "FLOAT data in int64_data"),
    "t_fd_short": (weight_of(FLOAT, (4, 8), FLOATS), 3, "31 values for 32 elements"),
    "t_dim_neg": (weight_of(FLOAT, (-4, -8), field(9, RAW)), 3, "negative dimension -4"),
    "t_dim_neg1": (weight_of(FLOAT, (-1, 8), field(9, RAW)), 3, "negative dimension -1"),
    "t_dim_huge": (weight_of(FLOAT, (1 << 40,), field(9, RAW)), 3, "128 bytes"),
    "t_dim_max": (weight_of(FLOAT, ((1 << 63) - 1, 2), field(9, RAW)), 3, "overflows"),
    "t_dim_wrap0": (weight_of(FLOAT, (1 << 32, 1 << 32), b""), 3, "overflows"),
    "t_dim_wrap32": (weight_of(FLOAT, ((1 << 62) + 8, 4), field(9, RAW)), 3, "overflows"),
    "t_zero_huge": (weight_of(FLOAT, (1 << 62, 0, 1 << 62), b""), 3, "overflows"),
    "t_rank65": (weight_of(FLOAT, (1,) * 65, field(9, bytes(4))), 6, "rank 65"),
    "t_type0": (weight_of(0, (4, 8), field(9, RAW)), 3, "UNDEFINED"),
    "t_type99": (weight_of(99, (4, 8), field(9, RAW)), 3, "unknown data type 99"),
    "t_string_raw": (weight_of(8, (4, 8), field(9, RAW)), 3, "STRING with raw_data"),
    "int32_data too short": (
        weight_of(FLOAT16, (4, 8), field(5, b"\x01" * 31)),
        3,
        "31 values for 32 elements",
    ),
    "int32_data that breaks off": (
        weight_of(FLOAT16, (40, 50), field(5, b"\x01" * 2_000 + b"\x80")),
        3,
        "breaks off",
    ),
    "int32_data of eleven bytes": (
        weight_of(FLOAT16, (40, 50), field(5, b"\x01" * 1_999 + b"\x80" * 10 + b"\x01")),
        3,
        "longer than ten bytes",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_data_that_does_not_fit_is_refused(tmp_path: Path, case: str) -> None:
    content, code, message = BAD[case]
    kind = FLOAT16 if "int32" in case else FLOAT
    with pytest.raises(OnnxpruneError, match=message) as caught:
        look(tmp_path, one_weight(kind, content, (4, 8)))
    assert caught.value.exit_code == code


def look(folder: Path, content: bytes) -> Array:
    with opened(folder, content) as model:
        return model.stored("w").stored(0, 32)


INT32 = 6
STRANGE = {
    "a type of its own": tensor("zero", INT32, np.zeros(1, np.int32)),
    "no values": tensor("zero", INT8, np.zeros(0, np.int8)),
    "too few values": tensor("zero", INT8, np.zeros(2, np.int8)),
    "too many values": tensor("zero", INT8, np.zeros(51, np.int8)),
}


@pytest.mark.parametrize("zero", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("channels", [1, 50])
def test_a_weight_with_a_strange_zero_point_is_left_alone(
    tmp_path: Path, zero: bytes, channels: int
) -> None:
    weight = tensor("w", INT8, some(INT8, SHAPE))
    scale = tensor("scale", FLOAT, np.ones(channels, np.float32))
    with opened(tmp_path, one_weight(INT8, weight, SHAPE, scale, zero)) as model:
        assert [weight.path for weight in model.weights] == []


def test_values_of_32_bits_stand_for_negative_numbers_too(tmp_path: Path) -> None:
    values = np.array([[-1, 2], [-128, 127]], np.int8)
    parts = [varint(int(value) & 0xFFFFFFFF) for value in values.reshape(-1)]
    weight = weight_of(INT8, (2, 2), field(5, b"".join(parts)))
    content = one_weight(INT8, weight, (2, 2), *scaling(INT8, np.array([0]), SCALE))
    with opened(tmp_path, content) as model:
        assert model.stored("w").stored(0, 4).tobytes() == values.tobytes()
