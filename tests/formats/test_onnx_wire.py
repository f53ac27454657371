"""One walk over a model: the skeleton it builds, and what it refuses."""

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxprune.errors import InputError, LimitError, OnnxpruneError, UnsupportedError
from onnxprune.formats.files import open_regular
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.onnx_wire import SCHEMA, Scan, scan
from tests.formats.files_made import (
    BFLOAT16,
    BYTES,
    DOUBLE,
    ENCODINGS,
    FIXED32,
    FIXED64,
    FLOAT,
    FLOAT16,
    INT8,
    NAMES,
    field,
    graph_of,
    model_of,
    number_field,
    one_weight,
    outside,
    some,
    tensor,
    varint,
)
from tests.formats.protos import bare

SHAPE = (40, 48)


def scanned(folder: Path, content: bytes, **limits: int) -> Scan:
    path = folder / "model.onnx"
    path.write_bytes(content)
    source = open_regular(path)
    try:
        return scan(source.descriptor, source.size, **limits)
    finally:
        source.close()


def assert_skeleton(found: Scan, content: bytes) -> None:
    skeleton = onnx.ModelProto.FromString(found.skeleton)
    assert bare(skeleton) == bare(onnx.ModelProto.FromString(content))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", NAMES, ids=NAMES.values())
def test_the_skeleton_is_the_model_without_its_bulk(
    tmp_path: Path, kind: int, encoding: str
) -> None:
    weight = tensor("w", kind, some(kind, SHAPE), encoding)
    content = one_weight(kind, weight, SHAPE)
    found = scanned(tmp_path, content)
    assert_skeleton(found, content)
    assert len(found.skeleton) < 400
    assert found.unknown_fields == 0
    assert [record.name for record in found.tensors.values()] == ["w"]


def test_small_tensors_stay_in_the_skeleton(tmp_path: Path) -> None:
    small, large = some(FLOAT, (16, 16)), some(FLOAT, (16, 17))
    content = model_of(
        [tensor("small", FLOAT, small), tensor("large", FLOAT, large)],
        graph_of(FLOAT, (16, 17), ["large"]),
    )
    graph = onnx.ModelProto.FromString(scanned(tmp_path, content).skeleton).graph
    kept = {each.name: each for each in graph.initializer}
    assert np.array_equal(numpy_helper.to_array(kept["small"]), small)
    assert kept["large"].data_location == TensorProto.EXTERNAL
    assert not kept["large"].raw_data


def test_external_data_leaves_the_skeleton_too(tmp_path: Path) -> None:
    content = one_weight(FLOAT, outside("w", FLOAT, SHAPE, location="w.bin"), SHAPE)
    found = scanned(tmp_path, content)
    assert_skeleton(found, content)
    assert b"w.bin" not in found.skeleton


def everywhere() -> tuple[onnx.ModelProto, dict[tuple[int, ...], str]]:
    """Put a tensor in every place that may hold one; return their addresses, too."""

    def named(name: str) -> onnx.TensorProto:
        return numpy_helper.from_array(some(FLOAT, (9, 32)), name)

    indices = numpy_helper.from_array(np.arange(300, dtype=np.int64), "places")
    sparse = helper.make_sparse_tensor(named("sparse"), indices, [4096])
    branch = helper.make_graph([], "branch", [], [], [named("in a branch")])
    node = helper.make_node("Odd", ["x"], ["y"])
    attributes = {
        "one": named("attribute"),
        "graph": branch,
        "several": [named("first"), named("second")],
        "graphs": [helper.make_graph([], "inner", [], [], [named("in a list of graphs")])],
        "sparse": sparse,
    }
    node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
    graph = helper.make_graph([node], "g", [], [], [named("initializer")])
    graph.sparse_initializer.append(sparse)
    body = helper.make_node("Constant", [], ["k"], value=named("in a function"))
    opset = helper.make_opsetid("", 21)
    function = helper.make_function("my", "F", [], ["k"], [body], [opset])
    model = helper.make_model(graph, functions=[function])
    model.training_info.add().algorithm.initializer.append(named("training"))
    first = (7, 0, 1, 0, 5)
    return model, {
        (*first, 0, 5, 0): "attribute",
        (*first, 1, 6, 0, 5, 0): "in a branch",
        (*first, 2, 10, 0): "first",
        (*first, 2, 10, 1): "second",
        (*first, 3, 11, 0, 5, 0): "in a list of graphs",
        (*first, 4, 22, 0, 1, 0): "sparse",
        (*first, 4, 22, 0, 2, 0): "places",
        (7, 0, 5, 0): "initializer",
        (7, 0, 15, 0, 1, 0): "sparse",
        (7, 0, 15, 0, 2, 0): "places",
        (20, 0, 2, 0, 5, 0): "training",
        (25, 0, 7, 0, 5, 0, 5, 0): "in a function",
    }


def test_tensors_are_found_wherever_a_model_may_hold_them(tmp_path: Path) -> None:
    model, places = everywhere()
    content = model.SerializeToString()
    found = scanned(tmp_path, content)
    assert {address: each.name for address, each in found.tensors.items()} == places
    assert_skeleton(found, content)
    assert len(found.skeleton) < 1800 < len(content)


MESSAGES = {
    "model": onnx.ModelProto,
    "graph": onnx.GraphProto,
    "node": onnx.NodeProto,
    "attribute": onnx.AttributeProto,
    "function": onnx.FunctionProto,
    "sparse": onnx.SparseTensorProto,
    "training": onnx.TrainingInfoProto,
    "value": onnx.ValueInfoProto,
    "type": onnx.TypeProto,
    "map": onnx.TypeProto.Map,
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_the_fields_that_are_known_are_those_of_onnx(kind: str) -> None:
    assert set(SCHEMA[kind]) == set(MESSAGES[kind].DESCRIPTOR.fields_by_number)


def test_unknown_fields_are_counted_and_stay_in_the_skeleton(tmp_path: Path) -> None:
    new = field(3000, b"from the future") + number_field(3001, 5)
    new += varint(3002 << 3 | FIXED32) + bytes(4) + varint(3003 << 3 | FIXED64) + bytes(8)
    weight = tensor("w", FLOAT, some(FLOAT, SHAPE)) + new
    graph = graph_of(FLOAT, SHAPE).SerializeToString() + field(5, weight) + new
    content = number_field(1, 10) + field(7, graph) + field(8, number_field(2, 21)) + new
    found = scanned(tmp_path, content)
    assert found.unknown_fields == 12
    assert found.skeleton.count(new) == 3
    with load_onnx(tmp_path / "model.onnx") as model:
        assert any("12 unknown fields" in warning for warning in model.warnings)


def test_a_field_of_another_wire_type_is_an_unknown_one(tmp_path: Path) -> None:
    wrong = number_field(13, 5) + varint(12 << 3 | FIXED32) + bytes(4)
    weight = wrong + outside("w", FLOAT, SHAPE, location="w.bin")
    content = one_weight(FLOAT, weight, SHAPE)
    found = scanned(tmp_path, content)
    assert found.unknown_fields == 2
    assert wrong in found.skeleton
    assert_skeleton(found, content)


@pytest.mark.parametrize("kind", [FLOAT, DOUBLE, FLOAT16, BFLOAT16, INT8])
def test_the_fields_of_a_tensor_may_come_in_any_order(tmp_path: Path, kind: int) -> None:
    values = some(kind, SHAPE)
    dims = b"".join(number_field(1, size) for size in SHAPE)
    parts = [
        dims,
        number_field(2, kind),
        field(9, values.tobytes()),
        field(8, b"w"),
        field(12, b"a doc string"),
    ]
    for order in itertools.islice(itertools.permutations(parts), 0, None, 17):
        content = one_weight(kind, b"".join(order), SHAPE)
        found = scanned(tmp_path, content)
        (record,) = found.tensors.values()
        assert (record.name, record.data_type, record.dims) == ("w", kind, list(SHAPE))
        (run,) = record.runs
        assert content[run.start : run.start + run.count] == values.tobytes()
        assert_skeleton(found, content)


def test_the_graph_may_come_before_everything_else(tmp_path: Path) -> None:
    graph = graph_of(FLOAT, SHAPE).SerializeToString()
    initializer = field(5, tensor("w", FLOAT, some(FLOAT, SHAPE)))
    opset = field(8, number_field(2, 21))
    content = field(7, initializer + graph) + opset + number_field(1, 10)
    found = scanned(tmp_path, content)
    assert_skeleton(found, content)
    with load_onnx(tmp_path / "model.onnx") as model:
        assert [weight.path for weight in model.weights] == ["w"]


def test_dims_may_be_packed(tmp_path: Path) -> None:
    values = some(FLOAT, (4, 300))
    weight = field(1, b"\x04\xac\x02") + number_field(2, FLOAT) + field(9, values.tobytes())
    found = scanned(tmp_path, one_weight(FLOAT, weight + field(8, b"w"), (4, 300)))
    (record,) = found.tensors.values()
    assert record.dims == [4, 300]


def test_every_cut_of_a_model_is_bad_input_or_a_smaller_model(tmp_path: Path) -> None:
    weight = tensor("w", FLOAT, some(FLOAT, (3, 4)), "mixed")
    content = one_weight(FLOAT, weight, (3, 4), tensor("v", FLOAT16, some(FLOAT16, (5,))))
    whole = 0
    for size in range(1, len(content)):
        try:
            found = scanned(tmp_path, content[:size])
        except InputError:
            continue
        whole += 1
        assert found.skeleton == content[:size]
        onnx.ModelProto.FromString(found.skeleton)
    assert whole == 3  # behind ir_version, the producer and the graph


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (field(7, b""), InputError),  # a second graph
        (field(9, b"\0\0\0"), InputError),  # a second raw_data, in the tensor below
        (field(3, number_field(1, 0)), UnsupportedError),  # a segmented tensor
        (number_field(2, 1), InputError),  # a second data type
        (field(8, b"\xff"), InputError),  # a second name
        (field(4, b"\0\0\0"), InputError),  # three quarters of a float
        (number_field(4, 1), InputError),  # a float as a varint
        (varint(4 << 3 | FIXED32) + bytes(3), InputError),  # the same, unpacked
        (varint(10 << 3 | FIXED64) + bytes(7), InputError),
        (varint(15 << 3 | FIXED32) + bytes(3), InputError),
        (field(13, field(1, b"location")) * 2, InputError),
        (number_field(14, 0) * 2, InputError),
        (
            field(13, field(1, b"location") + field(2, b"w.bin")),
            InputError,
        ),  # but not EXTERNAL
        (number_field(14, 1) + field(13, b"\x02\0" + field(2, b"w.bin")), InputError),
        (varint(9 << 3 | BYTES, 6) + b"\0", InputError),
        (field(5, b"\x8a") + field(5, b"\x7f"), InputError),  # one number in two fields
        (field(7, b"\x01\xff"), InputError),
    ],
)
def test_what_is_given_twice_or_breaks_off_is_refused(
    tmp_path: Path, part: bytes, error: type[OnnxpruneError]
) -> None:
    weight = tensor("w", FLOAT, some(FLOAT, (3, 4)))
    content = one_weight(FLOAT, weight + part, (3, 4))
    if part == field(7, b""):
        content = one_weight(FLOAT, weight, (3, 4)) + part
    with pytest.raises(error):
        scanned(tmp_path, content)


@pytest.mark.parametrize("number", [5, 6, 22])
def test_an_attribute_has_one_value(tmp_path: Path, number: int) -> None:
    def content(values: bytes) -> bytes:
        node = field(1, field(5, values))
        return number_field(1, 10) + field(7, node)

    assert scanned(tmp_path, content(field(number, b"") + field(1, b"a"))).unknown_fields == 0
    with pytest.raises(InputError, match="appears twice"):
        scanned(tmp_path, content(field(number, b"") * 2))


@pytest.mark.parametrize("name", [b"\xff", b"n" * 4097])
def test_names_are_short_and_utf8(tmp_path: Path, name: bytes) -> None:
    weight = number_field(2, FLOAT) + field(8, name)
    with pytest.raises((InputError, LimitError)) as caught:
        scanned(tmp_path, one_weight(FLOAT, weight, (3, 4)))
    assert caught.value.exit_code == (5 if len(name) > 1 else 3)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("graph", 2),
        ("value", 1),
        ("attribute", 1),
        ("attribute", 21),
        *(("node", number) for number in (1, 2, 3, 4, 7, 8)),
        *(("function", number) for number in (1, 4, 5, 6, 10, 13)),
    ],
)
def test_no_name_is_anything_but_utf8(tmp_path: Path, kind: str, number: int) -> None:
    def content(name: bytes) -> bytes:
        part = field(number, name)
        graph = {
            "graph": part,
            "node": field(1, part),
            "attribute": field(1, field(5, part)),
            "value": field(11, part),
            "function": b"",
        }[kind]
        function = field(25, part) if kind == "function" else b""
        return number_field(1, 10) + field(7, graph) + function

    assert scanned(tmp_path, content("層".encode())).unknown_fields == 0
    with pytest.raises(InputError, match="not valid UTF-8"):
        scanned(tmp_path, content(b"w\xff"))


def test_unknown_fields_of_an_entry_of_external_data_do_no_harm(tmp_path: Path) -> None:
    entry = number_field(7, 1) + field(1, b"location") + field(9, b"?") + field(2, b"w.bin")
    weight = outside("w", FLOAT, SHAPE, offset=64) + field(13, entry)
    found = scanned(tmp_path, one_weight(FLOAT, weight, SHAPE))
    (record,) = found.tensors.values()
    assert record.external is not None
    assert record.external.entries == {"offset": "64", "location": "w.bin"}
