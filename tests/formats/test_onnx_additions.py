"""Biases that are made: the same model otherwise, and its outputs plus the bias."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxprune.errors import OutputError, UnsupportedError
from onnxprune.formats import reading_back
from onnxprune.formats.edits import Edit
from onnxprune.formats.onnx_biases import surroundings
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.saving import Saving
from tests import models
from tests.formats.files_made import field, number_field

Array = models.Array


def whole(*shape: int) -> Array:
    """Make whole numbers, sums and products of which are exact."""
    return np.random.default_rng(list(shape)).integers(-8, 9, shape).astype("f4")


def held(name: str, *shape: int) -> TensorProto:
    return models.constant(name, whole(*shape))


def make(
    path: Path, additions: Mapping[str, Array], edits: Mapping[str, Edit] | None = None
) -> tuple[Path, dict[str, str]]:
    output = path.with_name("out.onnx")
    with load_onnx(path) as model:
        done = Saving(model, output, edits or {}, additions=additions)
        done.run()
    return output, done.created


def check(path: Path, output: Path, created: Mapping[str, str]) -> None:
    """A model with its new biases taken out again is the model that it was."""
    found = onnx.load(output)
    # The checker wants to know the shapes of outputs.
    shaped = onnx.shape_inference.infer_shapes(found, strict_mode=True)
    onnx.checker.check_model(shaped, full_check=True)
    graph = found.graph
    names = set(created.values())
    with load_onnx(output) as model:
        for weight, name in created.items():
            behind = surroundings(model, weight)
            assert behind is not None
            assert (behind.bias, behind.creatable) == (name, False)
            assert model.editable(name) is None
    for node in list(graph.node):
        if node.op_type == "Add" and names & set(node.input):
            (owner,) = (each for each in graph.node if each.output[0] == node.input[0])
            owner.output[0] = node.output[0]
            graph.node.remove(node)
        elif names & set(node.input):
            assert node.input.pop() in names
    for entries in (graph.initializer, graph.input):
        for each in list(entries):
            if each.name in names:
                entries.remove(each)
    assert found == onnx.load(path)


OPERATORS: dict[str, tuple[onnx.NodeProto, TensorProto, Sequence[int], Any]] = {
    "conv": (models.node("Conv x w -> y"), held("w", 6, 4, 3, 3), (1, 4, 8, 8), 1),
    "conv in groups": (
        models.node("Conv x w -> y", group=2),
        held("w", 6, 2, 3, 3),
        (1, 4, 8, 8),
        1,
    ),
    "transposed conv": (
        models.node("ConvTranspose x w -> y", group=2),
        held("w", 4, 3, 3, 3),
        (1, 4, 8, 8),
        1,
    ),
    "gemm": (models.node("Gemm x w -> y"), held("w", 4, 6), (2, 4), 1),
    "gemm that halves": (
        models.node("Gemm x w -> y", beta=0.5, transB=1),
        held("w", 6, 4),
        (2, 4),
        0.5,
    ),
    "matmul": (models.node("MatMul x w -> y"), held("w", 4, 6), (2, 4), 1),
    "matmul of batches": (models.node("MatMul x w -> y"), held("w", 4, 6), (3, 2, 4), 1),
}


@pytest.mark.parametrize("version", [3, 10])
@pytest.mark.parametrize("case", OPERATORS)
def test_every_output_gets_its_own_value(tmp_path: Path, case: str, version: int) -> None:
    node, weight, shape, factor = OPERATORS[case]
    proto = models.model([node], {"x": shape}, "y", [weight])
    if version == 3:
        proto.ir_version = version
        proto.graph.input.append(models.port("w", weight.dims))
        proto.opset_import[0].version = 11
    path = models.save(tmp_path / "m.onnx", proto)
    bias = np.arange(1, 7, dtype="f4")
    output, created = make(path, {"w": bias})
    assert created == {"w": "w_bias"}
    check(path, output, created)
    x = whole(*shape)
    (before,), (after,) = models.run(proto, x=x), models.run(onnx.load(output), x=x)
    channels = bias.reshape(6, 1, 1) if "conv" in case else bias
    assert np.array_equal(after, before + factor * channels)
    with load_onnx(output) as model:
        declared = [value.name for value in model.graph.model.graph.input]
    assert declared == (["x", "w", "w_bias"] if version == 3 else ["x"])


def test_an_input_without_a_name_gets_one(tmp_path: Path) -> None:
    node = models.node("Conv x w _ -> y")
    proto = models.model([node], {"x": (1, 4, 8, 8)}, "y", [held("w", 6, 4, 3, 3)])
    output, _ = make(models.save(tmp_path / "m.onnx", proto), {"w": np.ones(6)})
    (found,) = onnx.load(output).graph.node
    assert list(found.input) == ["x", "w", "w_bias"]
    x = whole(1, 4, 8, 8)
    (before,), (after,) = models.run(proto, x=x), models.run(onnx.load(output), x=x)
    assert np.array_equal(after, before + 1)


def several() -> onnx.ModelProto:
    """Make a model of several layers, whose outputs are read by subgraphs, too."""
    branch = models.graph([models.node("Identity h -> t")], None, "t")
    nodes = [
        models.node("MatMul x u -> h"),
        models.node("If choice -> i", then_branch=branch, else_branch=branch),
        models.node("MatMul i v -> j", "v_bias_add"),
        models.node("Gemm j w -> y", "last"),
    ]
    tensors = [held("u", 4, 5), held("v", 5, 5), held("w", 5, 6)]
    tensors.append(models.constant("choice", True, bool))
    return models.model(nodes, {"x": [2, 4]}, "y h", tensors)


def test_several_biases_are_made_at_once(tmp_path: Path) -> None:
    proto = several()
    path = models.save(tmp_path / "m.onnx", proto)
    added = {"w": whole(6), "u": whole(5), "v": whole(5) + 1}
    output, created = make(path, added)
    check(path, output, created)
    x = whole(2, 4)
    u, v, w = (numpy_helper.to_array(each) for each in proto.graph.initializer[:3])
    h = x @ u + added["u"]
    y = (h @ v + added["v"]) @ w + added["w"]
    found = models.run(onnx.load(output), x=x)
    assert np.array_equal(found[0], y)
    assert np.array_equal(found[1], h)


def test_names_are_new_ones(tmp_path: Path) -> None:
    branch = models.graph(
        [models.node("Identity x -> w_bias_2")], None, "w_bias_2", [held("h_unbiased", 2)]
    )
    nodes = [
        models.node("MatMul x w -> h"),
        models.node("Add h other -> i", "w_bias_3_add"),
        models.node("If choice -> j", then_branch=branch, else_branch=branch),
        models.node("MatMul j w_bias -> k"),
        models.node("Add i k -> y"),
    ]
    tensors = [held("w", 4, 4), held("w_bias", 4, 4), models.constant("choice", True, bool)]
    nodes[1].input[1] = "x"
    path = models.save(tmp_path / "m.onnx", models.model(nodes, {"x": [2, 4]}, "y", tensors))
    output, created = make(path, {"w": whole(4), "w_bias": whole(4)})
    assert created == {"w": "w_bias_3", "w_bias": "w_bias_bias"}
    check(path, output, created)
    made = onnx.load(output).graph.node
    assert next(node.name for node in made if node.op_type == "Add") == "w_bias_3_add_2"
    assert made[0].output[0] == "h_unbiased_2"


def test_long_names_do_not_grow_too_long(tmp_path: Path) -> None:
    long = "w" * 4096
    node = helper.make_node("MatMul", ["x", long], ["y" * 4096])
    proto = models.model([node], {"x": [2, 4]}, "y" * 4096, [held(long, 4, 6)])
    path = models.save(tmp_path / "m.onnx", proto)
    output, created = make(path, {long: whole(6)})
    check(path, output, created)


@pytest.mark.parametrize("op", ["Conv", "MatMul"])
def test_nodes_may_come_last_in_the_file(tmp_path: Path, op: str) -> None:
    shape, kernel = ((1, 4, 8, 8), (6, 4, 3, 3)) if op == "Conv" else ((2, 4), (4, 6))
    large = models.constant("large", np.zeros(100_000))
    proto = models.model([], {"x": shape}, "y", [large, held("w", *kernel)])
    nodes = [models.node("Identity x -> z"), models.node(f"{op} z w -> y")]
    body = proto.graph.SerializeToString()
    body += b"".join(field(1, node.SerializeToString()) for node in nodes)
    head = number_field(1, 10) + field(3000, b"from the future")
    tail = field(8, number_field(2, 21)) + field(3001, b"and this")
    path = tmp_path / "m.onnx"
    path.write_bytes(head + field(7, body) + tail)
    output, created = make(path, {"w": np.ones(6)})
    check(path, output, created)
    written = output.read_bytes()
    assert written.startswith(head)
    assert written.endswith(tail)
    assert body[:400_000] in written
    x = whole(*shape)
    before, after = (models.run(onnx.load(each), x=x)[0] for each in (path, output))
    assert np.array_equal(after, before + 1)


@pytest.mark.parametrize("kind", ["FLOAT16", "DOUBLE", "BFLOAT16"])
def test_a_bias_is_of_the_type_of_its_weight(tmp_path: Path, kind: str) -> None:
    number = TensorProto.DataType.Value(kind)
    weight = helper.make_tensor("w", number, [4, 6], whole(4, 6).reshape(-1))
    proto = models.model([models.node("MatMul x w -> y")], {"x": [2, 4]}, "y", [weight])
    for port in (*proto.graph.input, *proto.graph.output):
        port.type.tensor_type.elem_type = number
    path = models.save(tmp_path / "m.onnx", proto)
    output, created = make(path, {"w": np.arange(6) + 0.5})
    check(path, output, created)
    made = onnx.load(output).graph.initializer[-1]
    assert (made.name, made.data_type, list(made.dims)) == ("w_bias", number, [6])
    assert np.array_equal(numpy_helper.to_array(made).astype("f8"), np.arange(6) + 0.5)
    with pytest.raises(OutputError, match="'w_bias': NaN"):
        make(path, {"w": np.full(6, np.nan)})


def test_new_values_and_new_biases_go_together(tmp_path: Path) -> None:
    def tensors(u: Array, v: Array) -> list[TensorProto]:
        # Values of half precision as varints, whose widths change.
        return [
            helper.make_tensor("u", TensorProto.FLOAT16, [4, 5], u.astype("f2").reshape(-1)),
            models.constant("v", v),
            models.constant("c", whole(6)),
        ]

    nodes = [
        models.node("Cast u -> wide", to=1),
        models.node("MatMul x wide -> h"),
        models.node("Gemm h v -> i"),
        models.node("Add i c -> y"),
    ]
    small = np.full((4, 5), 2.0**-24)

    def proto(u: Array, v: Array) -> onnx.ModelProto:
        return models.model(nodes, {"x": [2, 4]}, "y", tensors(u, v))

    path = models.save(tmp_path / "m.onnx", proto(small, whole(5, 6)))
    u, v, bias = whole(4, 5) + 0.5, whole(5, 6) + 1, whole(5)
    edits = {"u": Edit(values=u.reshape(-1)), "v": Edit(values=v.reshape(-1))}
    edits["c"] = Edit(values=whole(6) * 2)
    output, created = make(path, {"u": bias}, edits)
    assert created == {"u": "u_bias"}
    changed = proto(u, v)
    changed.graph.initializer[2].CopyFrom(models.constant("c", whole(6) * 2))
    check(models.save(tmp_path / "changed.onnx", changed), output, created)
    x = whole(2, 4)
    (found,) = models.run(onnx.load(output), x=x)
    assert np.array_equal(found, (x @ u + bias) @ v + whole(6) * 2)


def test_models_with_external_data_get_biases_too(tmp_path: Path) -> None:
    proto = models.model(
        [models.node("MatMul x u -> h"), models.node("MatMul h v -> y")],
        {"x": [2, 4]},
        "y",
        [held("u", 4, 5), held("v", 5, 6)],
    )
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    before = (tmp_path / "m.data").read_bytes()
    output, created = make(path, {"u": whole(5), "v": whole(6)})
    check(path, output, created)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.data", "m.onnx", "out.onnx"]
    v = whole(5, 6) + 1
    output.unlink()
    output, created = make(path, {"u": whole(5)}, {"v": Edit(values=v.reshape(-1))})
    x = whole(2, 4)
    (found,) = models.run(onnx.load(output), x=x)
    assert np.array_equal(found, (x @ whole(4, 5) + whole(5)) @ v)
    assert (tmp_path / "m.data").read_bytes() == before


def test_what_cannot_have_a_bias_is_refused(tmp_path: Path) -> None:
    proto = models.model(
        [models.node("MatMul x w -> h"), models.node("Add h c -> y")],
        {"x": [2, 4]},
        "y",
        [held("w", 4, 6), held("c", 6)],
    )
    path = models.save(tmp_path / "m.onnx", proto)
    for name in ("w", "c", "nothing"):
        with pytest.raises(UnsupportedError, match=f"'{name}' cannot be given a bias"):
            make(path, {name: whole(6)})
    proto.graph.node.pop()
    proto.graph.node[0].output[0] = "y"
    path = models.save(tmp_path / "m.onnx", proto)
    with pytest.raises(OutputError, match="'w': 5 values for a bias of 6"):
        make(path, {"w": whole(5)})
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


def test_a_bias_that_is_read_back_as_another_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save(tmp_path / "m.onnx", several())
    monkeypatch.setattr(reading_back, "value_checksum", lambda model, name: 7)
    with pytest.raises(OutputError, match="'w_bias': other values were read back"):
        make(path, {"w": whole(6)})
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]
