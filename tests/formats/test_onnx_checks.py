"""Graphs that contradict themselves, and sparse tensors that stand for too much, are refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxprune.bounds import limiting
from onnxprune.errors import InputError, LimitError
from onnxprune.formats.onnx_file import load_onnx
from tests.models import constant, function, graph, model, node, save, weight


def refused(folder: Path, proto: onnx.ModelProto) -> str:
    with pytest.raises(InputError) as raised:
        load_onnx(save(folder / "m.onnx", proto))
    return raised.value.message


def layers(*names: str) -> onnx.ModelProto:
    nodes = [node(f"Relu h{i} -> h{i + 1}", name) for i, name in enumerate(names)]
    nodes.append(node(f"MatMul h{len(names)} w -> y", "last"))
    return model(nodes, {"h0": ["N", 4]}, "y", [weight("w", 4, 5)])


def test_two_nodes_of_one_name_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, layers("a", "b", "a")) == "two nodes are named 'a'"
    with load_onnx(save(tmp_path / "m.onnx", layers("", "", "a"))) as opened:
        assert [each.path for each in opened.weights] == ["w"]


def test_each_graph_has_names_of_its_own(tmp_path: Path) -> None:
    inner = graph([node("Relu w -> t", "a")], outputs="t")
    other = graph([node("Relu w -> t", "a"), node("Relu t -> u", "a")], outputs="u")
    choice = node("If c -> y", "a", then_branch=inner, else_branch=inner)
    weights = [weight("w", 4)]
    load_onnx(save(tmp_path / "m.onnx", model([choice], {"c": []}, "y", weights))).close()
    choice = node("If c -> y", "a", then_branch=inner, else_branch=other)
    told = refused(tmp_path, model([choice], {"c": []}, "y", weights))
    assert told == "two nodes are named 'a.else_branch/a'"


def reference(proto: onnx.NodeProto) -> onnx.NodeProto:
    proto.attribute.add(name="alpha", ref_attr_name="given", type=onnx.AttributeProto.FLOAT)
    return proto


def test_a_reference_to_an_attribute_outside_a_function_is_refused(tmp_path: Path) -> None:
    proto = layers("a")
    reference(proto.graph.node[0])
    told = "'a': attribute 'alpha' refers to 'given' of a function, but is in none"
    assert refused(tmp_path, proto) == told


def test_a_reference_inside_a_function_and_its_subgraphs_is_taken(tmp_path: Path) -> None:
    inner = graph([reference(node("LeakyRelu a -> t"))], outputs="t")
    body = [node("If c -> d", then_branch=inner, else_branch=inner)]
    body.append(reference(node("LeakyRelu d -> e")))
    called = [node("F x c -> h", domain="local", given=0.5), node("MatMul h w -> y")]
    made = function("F", "a c -> e", body, given=None)
    proto = model(called, {"x": ["N", 4], "c": []}, "y", [weight("w", 4, 5)], [made])
    with load_onnx(save(tmp_path / "m.onnx", proto)) as opened:
        assert [each.path for each in opened.weights] == ["w"]


def sparse(name: str, *dims: int) -> onnx.SparseTensorProto:
    values = constant(name, [1.0, 2.0])
    return onnx.SparseTensorProto(
        values=values, indices=constant("", [0, 3], np.int64), dims=dims
    )


def with_sparse(*dims: int, attribute: bool = False) -> onnx.ModelProto:
    proto = layers()
    if attribute:
        made = node("Constant -> s")
        made.attribute.add(
            name="sparse_value",
            type=onnx.AttributeProto.SPARSE_TENSOR,
            sparse_tensor=sparse("", *dims),
        )
        proto.graph.node.insert(0, made)
    else:
        proto.graph.sparse_initializer.append(sparse("s", *dims))
    return proto


@pytest.mark.parametrize("attribute", [False, True])
def test_a_sparse_tensor_of_absurd_size_is_over_a_limit(
    attribute: bool, tmp_path: Path
) -> None:
    path = save(tmp_path / "m.onnx", with_sparse(1 << 20, 1 << 20, attribute=attribute))
    with pytest.raises(LimitError) as raised:
        load_onnx(path)
    assert "sparse tensor expands to 4 TiB (the limit for this file" in raised.value.message
    assert raised.value.hint == "--max-amplification allows more"
    with (
        limiting(max_amplification=1e15),
        pytest.raises(LimitError, match="with dense tensors"),
    ):
        load_onnx(path)


def test_a_sparse_tensor_of_sensible_size_is_taken(tmp_path: Path) -> None:
    load_onnx(save(tmp_path / "m.onnx", with_sparse(1 << 12, 1 << 12))).close()
