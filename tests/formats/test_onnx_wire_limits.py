"""What a walk over a model refuses because it would take too much time or memory."""

import time
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from onnxprune.errors import InputError, LimitError
from onnxprune.formats import onnx_graph, onnx_tensor, onnx_weights
from onnxprune.formats.onnx_file import load_onnx
from tests.formats.files_made import (
    FLOAT,
    FLOAT16,
    field,
    graph_of,
    number_field,
    one_weight,
    varint,
)
from tests.formats.test_onnx_wire import SHAPE, assert_skeleton, scanned


def nested(depth: int) -> bytes:
    graph = graph_of(FLOAT, (3, 4)).SerializeToString()
    for _ in range(depth):
        attribute = field(1, b"then_branch") + number_field(20, 5) + field(6, graph)
        graph = field(1, field(2, b"y") + field(4, b"If") + field(5, attribute))
    return number_field(1, 10) + field(7, graph)


def test_subgraphs_are_walked_without_recursion_to_a_limit(tmp_path: Path) -> None:
    content = nested(30)
    assert scanned(tmp_path, content).skeleton == content
    for depth in (40, 5_000):
        with pytest.raises(LimitError, match="nested too deeply"):
            scanned(tmp_path, nested(depth))


@pytest.mark.parametrize(
    ("part", "count", "what"),
    [
        (field(1, b""), 1, "nodes"),
        (field(5, b""), 1, "tensors"),
        (field(11, b""), 10, "parts"),
    ],
)
def test_there_is_a_limit_on_what_takes_memory(
    tmp_path: Path, part: bytes, count: int, what: str
) -> None:
    content = number_field(1, 10) + field(7, part * 999 * count)
    assert scanned(tmp_path, content, node_limit=1_000).skeleton == content
    with pytest.raises(LimitError, match=f"more than [0-9,]+ {what}"):
        scanned(tmp_path, content, node_limit=99)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
def test_there_is_a_limit_on_the_length_of_names(tmp_path: Path, number: int) -> None:
    content = number_field(1, 10) + field(7, field(1, field(number, b"n" * 4_096)))
    assert scanned(tmp_path, content).skeleton == content
    content = number_field(1, 10) + field(7, field(1, field(number, b"n" * 4_097)))
    with pytest.raises(LimitError, match="a name is 4,097 bytes long"):
        scanned(tmp_path, content)


def test_there_is_a_limit_on_the_pieces_of_a_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_tensor, "PIECE_LIMIT", 12)
    name, value = field(8, b"w"), field(5, b"\0")
    (record,) = scanned(
        tmp_path, one_weight(FLOAT16, name + value * 12, (3, 4))
    ).tensors.values()
    assert len(record.varints) == 12
    with pytest.raises(LimitError, match="more than 12 pieces"):
        scanned(tmp_path, one_weight(FLOAT16, name + value * 13, (3, 4)))


def test_a_tensor_of_many_strings_is_no_problem(tmp_path: Path) -> None:
    words = helper.make_tensor("words", TensorProto.STRING, [5_000], ["a word"] * 5_000)
    content = one_weight(FLOAT, words.SerializeToString(), SHAPE)
    found = scanned(tmp_path, content)
    assert_skeleton(found, content)
    (record,) = found.tensors.values()
    assert record.data_bytes() > 30_000
    assert len(record.varints) == 1


def test_values_in_many_short_runs_are_found_quickly(tmp_path: Path) -> None:
    value = b"\x25" + bytes(4)
    weight = number_field(2, FLOAT) + (value + field(4, bytes(4))) * 20_000
    content = one_weight(FLOAT, field(8, b"w") + weight, (3, 4))
    began = time.process_time()
    (record,) = scanned(tmp_path, content).tensors.values()
    assert sum(run.count for run in record.runs) == 40_000
    assert time.process_time() - began < 3


def deep_type(depth: int) -> bytes:
    kind = field(1, number_field(1, 1))
    for _ in range(depth):
        kind = field(4, field(1, kind))  # a sequence of it
    return number_field(1, 10) + field(7, field(11, field(1, b"x") + field(2, kind)))


def test_types_are_nested_to_a_limit(tmp_path: Path) -> None:
    content = deep_type(40)
    assert scanned(tmp_path, content).skeleton == content
    for depth in (200, 5_000):
        with pytest.raises(LimitError, match="nested too deeply"):
            scanned(tmp_path, deep_type(depth))


def test_a_second_graph_that_is_nested_too_deeply_is_over_a_limit(tmp_path: Path) -> None:
    nested_type = field(1, b"f" * 300)
    for _ in range(200):
        nested_type = field(4, field(1, nested_type))
    value = field(13, field(1, b"v") + field(2, nested_type))
    first = field(7, graph_of(FLOAT, (3, 4)).SerializeToString())
    with pytest.raises(LimitError, match="nested too deeply"):
        scanned(tmp_path, first + field(7, value))
    with pytest.raises(InputError, match="the field 'graph' of a model appears twice"):
        scanned(tmp_path, first + field(7, field(13, field(1, b"v"))))


def test_more_than_two_gib_in_one_message_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(number_field(1, 10))
    with path.open("r+b") as file:
        file.truncate((1 << 31) + 1)
    with pytest.raises(LimitError, match=r"2\.0 GiB in one protobuf message"):
        load_onnx(path)


def model_with(nodes: bytes) -> bytes:
    graph = nodes + field(12, field(1, b"y"))
    return number_field(1, 10) + field(7, graph) + field(8, number_field(2, 21))


def branch(name: bytes, graph: bytes) -> bytes:
    attribute = field(1, b"then_branch") + number_field(20, 5) + field(6, graph)
    return field(1, field(3, name) + field(4, b"If") + field(5, attribute))


def small(name: bytes) -> bytes:
    return field(5, number_field(1, 2) + number_field(2, FLOAT) + field(4, bytes(8)) + name)


def test_tensors_of_one_path_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    inner = branch(b"n", small(field(8, b"w")))
    path.write_bytes(model_with(small(field(8, b"n.then_branch/w")) + inner))
    with load_onnx(path) as model:
        names = [skipped.name for skipped in model.skipped]
    assert names == ["n.then_branch/w", "n.then_branch/w#2"]


def test_tensors_of_many_branches_are_found_quickly(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    branches = (branch(b"n%d" % number, small(field(8, b"w"))) for number in range(20_000))
    path.write_bytes(model_with(b"".join(branches)))
    began = time.process_time()
    with load_onnx(path) as model:
        names = [skipped.name for skipped in model.skipped]
    assert names[-1] == "n19999.then_branch/w"
    assert len(set(names)) == 20_000
    assert time.process_time() - began < 15


def test_paths_take_no_more_memory_than_their_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = b"".join(small(field(8, b"w%d" % number)) for number in range(200))
    path = tmp_path / "model.onnx"
    path.write_bytes(model_with(branch(b"o" * 4000, branch(b"i" * 4000, inner))))
    with load_onnx(path) as model:
        assert len(model.skipped) == 200
    monkeypatch.setattr(onnx_graph, "LETTERS", 1_000_000)
    with pytest.raises(LimitError, match="take more than 1,000,000 letters"):
        load_onnx(path)


def test_constants_are_not_followed_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def node(op: bytes, inputs: list[bytes], output: bytes) -> bytes:
        read = b"".join(field(1, name) for name in inputs)
        return field(1, read + field(2, output) + field(4, op))

    names = [b"c%d" % number for number in range(30)]
    chain = node(b"Concat", names, b"t0")
    for number in range(30):
        chain += node(b"Identity", [b"t%d" % number], b"t%d" % (number + 1))
    path = tmp_path / "model.onnx"
    path.write_bytes(model_with(b"".join(small(field(8, name)) for name in names) + chain))
    with load_onnx(path) as model:
        assert {skipped.reason for skipped in model.skipped} == {"unused"}
    monkeypatch.setattr(onnx_weights, "STEPS", 30 * (30 + 30) - 1)
    with pytest.raises(LimitError, match="used in more than 1,799 places"):
        load_onnx(path)


LONG = field(8, b"w") + number_field(2, FLOAT) + field(1, b"\1" * 1_000_000)
WRONG = {
    "p_len_lie": (number_field(1, 10) + b"\x3a" + varint(1 << 32) + b"abc", "breaks off"),
    "p_wire": (number_field(1, 10) + number_field(7, 5), "no graph in the file"),
    "f_cut_at_field": (number_field(1, 10) + field(2, b"someone"), "no graph in the file"),
    "f_trailing": (one_weight(FLOAT, b"", SHAPE) + b"\xff" * 4, "breaks off"),
    "f_concat": (one_weight(FLOAT, b"", SHAPE) * 2, "appears twice"),
    "f_empty": (b"", "the file is empty"),
    "f_zeros": (bytes(65_536), "begins with zeros"),
    "p_dims1m": (
        one_weight(FLOAT, LONG, SHAPE),
        "rank 1,000,000",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_whole_model_is_bad_input(tmp_path: Path, case: str) -> None:
    content, message = WRONG[case]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_onnx(path)
    assert message in caught.value.message
