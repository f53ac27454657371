"""What is left alone, and the reason that a report gives for it."""

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.models import (
    Found,
    check_complete,
    constant,
    float_tensors,
    look,
    model,
    node,
    weight,
)

MATMUL = node("MatMul x w -> y")


def reasons(nodes: list[onnx.NodeProto], *tensors: TensorProto) -> dict[str, str]:
    """Return why tensors beside the weight `w` are left alone."""
    found = look(model([*nodes, MATMUL], {"x": ("N", 3)}, "y", [*tensors, weight("w", 3, 5)]))
    assert list(found.weights) == ["w"]
    return found.skipped


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Conv x w t -> o", "bias"),
        ("ConvTranspose x w t -> o", "bias"),
        ("Gemm x w t -> o", "bias"),
        ("Add x t -> o", "added (a bias or an offset)"),
        ("Sub x t -> o", "added (a bias or an offset)"),
        ("Mul x t -> o", "multiplied (a scale)"),
        ("Div x t -> o", "multiplied (a scale)"),
        ("PRelu x t -> o", "PReLU slope"),
        ("BatchNormalization x t m m m -> o", "normalisation"),
        ("LayerNormalization x t -> o", "normalisation"),
        ("QuantizeLinear x t -> o", "scale of quantised values"),
        ("Einsum x t -> o", "input 1 of Einsum, which is no weight"),
        ("Pow x t -> o", "input 1 of Pow, which is no weight"),
        ("Expand t s -> o", "input 0 of Expand, which is no weight"),
        ("Identity t -> o", "unused"),
    ],
)
def test_a_tensor_at_a_place_of_no_weight_says_what_it_does(text: str, reason: str) -> None:
    attributes = {"equation": "ab,b->ab"} if text.startswith("Einsum") else {}
    assert reasons([node(text, **attributes)], weight("t", 4))["t"] == reason


@pytest.mark.parametrize("place", range(5, 8))
def test_states_and_peepholes_of_a_recurrent_layer_are_no_weights(place: int) -> None:
    inputs = ["x", "k", "r", "b", "", "", "", ""]
    inputs[place] = "t"
    nodes = [helper.make_node("LSTM", inputs, ["o"], hidden_size=4)]
    tensors = [weight("k", 1, 16, 3), weight("r", 1, 16, 4), weight("b", 1, 32)]
    found = look(model(nodes, {"x": (7, 1, 3)}, "o", [*tensors, weight("t", 1, 12)]))
    assert list(found.weights) == ["k", "r"]
    assert found.skipped == {"b": "bias", "t": "state or peephole of a recurrent layer"}


@pytest.mark.parametrize("equation", ["a,b->ab", "ab,b->ab", "ab,ab->ab"])
def test_an_einsum_that_sums_nothing_over_its_constant_has_no_weight(equation: str) -> None:
    shape = [7] * len(equation.split("->")[0].split(",")[1])
    nodes = [node("Einsum x t -> o", equation=equation)]
    assert reasons(nodes, weight("t", *shape)) == {
        "t": "input 1 of Einsum, which is no weight"
    }


@pytest.mark.parametrize("axis", [0, -2])
def test_an_embedding_table_is_a_weight_that_is_marked_as_such(axis: int) -> None:
    nodes = [node("Gather t ids -> e", "lookup", axis=axis), MATMUL]
    found = look(
        model(
            nodes,
            {"x": ("N", 3), "ids": ("N",)},
            "e y",
            [weight("t", 7, 4), weight("w", 3, 5)],
        )
    )
    table = found.weights["t"]
    assert (table.op, table.node, table.embedding) == ("Gather", "lookup", True)
    assert np.array_equal(found.matrices["t"], numpy_helper.to_array(weight("t", 7, 4)))
    assert not found.weights["w"].embedding


@pytest.mark.parametrize("first", ["Gather", "MatMul"])
def test_a_table_that_is_tied_to_the_last_layer_is_one_tensor_and_an_embedding(
    first: str,
) -> None:
    nodes = [
        node("Gather t ids -> e"),
        node("Transpose t -> flipped"),
        node("MatMul x flipped -> y"),
    ]
    if first == "MatMul":
        nodes = [*nodes[1:], nodes[0]]
    found = look(model(nodes, {"x": ("N", 4), "ids": ("N",)}, "e y", [weight("t", 7, 4)]))
    assert list(found.weights) == ["t"]
    of = found.weights["t"]
    assert (of.op, of.size, of.embedding) == (first, 28, True)
    assert np.array_equal(found.matrices["t"], numpy_helper.to_array(weight("t", 7, 4)))


def test_a_lookup_along_an_inner_axis_is_no_embedding() -> None:
    nodes = [node("Gather t i -> o", axis=1)]
    assert reasons(nodes, weight("t", 7, 4))["t"] == "looked up by Gather along an inner axis"


def test_a_weight_used_twice_is_one_weight() -> None:
    nodes = [node("MatMul x w -> h", "first"), node("MatMul h w -> y", "second")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("w", 3, 3)]))
    assert [(of.path, of.node, of.size) for of in found.weights.values()] == [
        ("w", "first", 9)
    ]


def test_a_weight_that_has_another_use_is_still_a_weight() -> None:
    nodes = [node("Add x w -> h"), node("MatMul h w -> y")]
    found = look(model(nodes, {"x": (3, 3)}, "y", [weight("w", 3, 3)]))
    assert list(found.weights) == ["w"]
    assert not found.skipped


def test_unused_initializers_are_listed_and_scalars_are_not() -> None:
    tensors = [
        weight("loose", 2, 2),
        weight("pair", 2),
        constant("one", [1.0]),
        constant("s", 1),
    ]
    assert reasons([], *tensors) == {"loose": "unused", "pair": "unused"}


def test_a_weight_of_one_element_is_not_listed() -> None:
    found = look(model([MATMUL], {"x": ("N", 1)}, "y", [weight("w", 1, 1)]))
    assert not found.weights
    assert not found.skipped


def test_a_weight_of_two_elements_is_one() -> None:
    found = look(model([MATMUL], {"x": ("N", 2)}, "y", [weight("w", 2, 1)]))
    assert found.weights["w"].size == 2


def test_an_empty_weight_is_not_listed() -> None:
    found = look(model([MATMUL], {"x": ("N", 0)}, "y", [weight("w", 0, 5)]))
    assert not found.weights
    assert not found.skipped


FLOAT8 = [
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e4m3fnuz,
    ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e5m2fnuz,
    ml_dtypes.float4_e2m1fn,
]


@pytest.mark.parametrize("dtype", [*FLOAT8, ml_dtypes.int4, ml_dtypes.uint4])
def test_a_weight_of_a_type_that_is_not_pruned_is_skipped_with_its_type(dtype: Any) -> None:
    values = np.arange(14).reshape(2, 7).astype(dtype)
    tensors = [numpy_helper.from_array(values, "t"), constant("scale", 0.5)]
    nodes = [node("DequantizeLinear t scale -> f"), node("MatMul z f -> o")]
    kind = TensorProto.DataType.Name(tensors[0].data_type)
    assert reasons(nodes, *tensors)["t"] == f"type {kind} is not pruned"


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16, np.bool_])
def test_tensors_of_integers_are_not_listed(dtype: Any) -> None:
    assert reasons([node("MatMul z t -> o")], constant("t", np.ones((2, 7)), dtype)) == {}


def test_sparse_tensors_are_weights_like_others_but_for_odd_types() -> None:
    def sparse(name: str, kind: int = TensorProto.FLOAT) -> onnx.SparseTensorProto:
        values = helper.make_tensor(name, kind, [2], [1, 2])
        places = helper.make_tensor("", TensorProto.INT64, [2], [1, 4])
        return helper.make_sparse_tensor(values, places, [3, 5])

    nodes = [
        node("Constant -> t", "given", sparse_value=sparse("inside")),
        node("Constant -> u", "odd", sparse_value=sparse("inside", TensorProto.INT4)),
        node("MatMul x s -> a"),
        node("MatMul x t -> b"),
        MATMUL,
    ]
    proto = model(nodes, {"x": ("N", 3)}, "y", [weight("w", 3, 5)])
    proto.graph.sparse_initializer.append(sparse("s"))
    proto.graph.sparse_initializer.append(sparse("four bits", TensorProto.INT4))
    found = look(proto)
    assert list(found.weights) == ["s", "t", "w"]
    assert found.values["s"].tolist() == [0, 1, 0, 0, 2] + [0] * 10
    assert np.array_equal(found.values["t"], found.values["s"])
    assert found.skipped == {"four bits": "sparse initializer", "odd": "sparse initializer"}


def test_tensors_that_are_attributes_of_other_nodes_are_listed() -> None:
    nodes = [
        node(
            "Tree x -> o", "forest", "local", leaves=[1.0, 2.0, 3.0], table=weight("t", 2, 2)
        ),
        node("Tree x -> p", "bush", "local", leaves=[1.0]),
    ]
    assert reasons(nodes) == {
        "forest.leaves": "attribute of a node",
        "forest.table": "attribute of a node",
    }


def test_operators_of_unknown_domains_have_no_weights() -> None:
    nodes = [node("MatMul x t -> o", "", "my.own"), node("Transpose u -> v", "", "my.own")]
    assert reasons(
        [*nodes, node("MatMul x v -> p")], weight("t", 3, 4), weight("u", 4, 3)
    ) == {
        "t": "input 1 of MatMul, which is no weight",
        "u": "input 0 of Transpose, which is no weight",
    }


def test_the_long_name_of_the_default_domain_is_understood() -> None:
    nodes = [node("Transpose w -> v", "", "ai.onnx"), node("MatMul x v -> y", "", "ai.onnx")]
    assert list(look(model(nodes, {"x": ("N", 5)}, "y", [weight("w", 3, 5)])).weights) == ["w"]


def test_the_check_of_completeness_notices_what_is_missing_or_told_twice() -> None:
    proto = model(
        [MATMUL, node("Add x t -> o")],
        {"x": ("N", 3)},
        "y",
        [weight("w", 3, 5), weight("t", 3)],
    )
    found = look(proto)
    assert float_tensors(proto) == ["w", "t"]
    for weights, skipped in (
        ({}, found.skipped),
        (found.weights, {}),
        (found.weights, {**found.skipped, "w": "bias"}),
        (found.weights, {"t": ""}),
    ):
        with pytest.raises(AssertionError):
            check_complete(float_tensors(proto), Found(weights, skipped, []))
