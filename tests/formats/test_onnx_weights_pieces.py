"""Weights that are sliced, split, concatenated or handed on before their operator sees them."""

import numpy as np
import pytest
from onnx import numpy_helper

from tests.models import Array, constant, look, model, node, weight


def values(name: str, *shape: int) -> Array:
    return numpy_helper.to_array(weight(name, *shape))


def slice_of(text: str, axis: int, start: int, stop: int) -> list:
    """Slice along one axis, with the bounds as Constant nodes."""
    value, _, result = text.partition(" -> ")
    bounds = {"start": [start], "stop": [stop], "axis": [axis]}
    return [
        *(node(f"Constant -> {result}.{key}", value_ints=at) for key, at in bounds.items()),
        node(f"Slice {value} {result}.start {result}.stop {result}.axis -> {result}"),
    ]


def test_a_sliced_weight_is_read_whole_as_its_operator_reads_the_slice() -> None:
    nodes = [*slice_of("w -> v", 1, 0, 3), node("MatMul x v -> y", "layer")]
    found = look(model(nodes, {"x": ("N", 6)}, "y", [weight("w", 6, 5)]))
    assert (found.weights["w"].op, found.weights["w"].node) == ("MatMul", "layer")
    assert np.array_equal(found.matrices["w"], values("w", 6, 5).T)


def test_a_split_weight_is_one_weight_of_the_first_operator_that_uses_a_part() -> None:
    nodes = [
        node("Split w -> a b", axis=1, num_outputs=2),
        node("MatMul x b -> h", "first"),
        node("MatMul x a -> i", "second"),
        node("Add h i -> y"),
    ]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("w", 3, 10)]))
    assert (found.weights["w"].node, found.weights["w"].size) == ("first", 30)
    assert np.array_equal(found.matrices["w"], values("w", 3, 10).T)


def test_concatenated_weights_are_weights_of_one_operator_each_in_its_own_shape() -> None:
    parts = [weight("a", 2, 5), weight("b", 4, 5)]
    nodes = [node("Concat a b -> v", axis=0), node("Gemm x v -> y", "layer")]
    found = look(model(nodes, {"x": ("N", 6)}, "y", parts))
    assert {of.node for of in found.weights.values()} == {"layer"}
    assert np.array_equal(found.matrices["a"], values("a", 2, 5).T)
    assert np.array_equal(found.matrices["b"], values("b", 4, 5).T)


def test_the_gates_of_a_recurrent_layer_are_found_through_slice_concat_and_unsqueeze() -> None:
    nodes = [
        *slice_of("w -> i", 0, 0, 5),
        *slice_of("w -> rest", 0, 5, 20),
        node("Concat rest i -> gates", axis=0),
        node("Unsqueeze gates zero -> v"),
        node("LSTM x v r -> y", "layer", hidden_size=5),
    ]
    tensors = [weight("w", 20, 3), weight("r", 1, 20, 5), constant("zero", [0], np.int64)]
    found = look(model(nodes, {"x": (7, "N", 3)}, "y", tensors))
    assert [of.op for of in found.weights.values()] == ["LSTM", "LSTM"]
    assert np.array_equal(found.matrices["w"], values("w", 20, 3))


def test_a_slice_of_stacked_weights_is_followed_through_squeeze() -> None:
    nodes = [
        *slice_of("w -> s", 0, 0, 1),
        node("Squeeze s zero -> v"),
        node("MatMul x v -> y", "layer"),
    ]
    tensors = [weight("w", 2, 3, 5), constant("zero", [0], np.int64)]
    found = look(model(nodes, {"x": ("N", 3)}, "y", tensors))
    of = found.weights["w"]
    assert (of.op, of.size) == ("MatMul", 30)
    assert of.layout.input_count == 3
    rows = values("w", 2, 3, 5).transpose(2, 0, 1).reshape(-1, 3)
    assert np.array_equal(found.matrices["w"].reshape(-1, 3), rows)


@pytest.mark.parametrize("text", ["Squeeze s -> v", "Reshape s shape -> v"])
def test_what_needs_the_size_of_a_slice_ends_the_search(text: str) -> None:
    nodes = [*slice_of("w -> s", 0, 0, 1), node(text), node("MatMul x v -> y")]
    tensors = [weight("w", 2, 3, 5), constant("shape", [3, 5], np.int64)]
    found = look(model(nodes, {"x": ("N", 3)}, "y", tensors))
    assert not found.weights
    assert found.skipped["w"] == f"input 0 of {text.split()[0]}, which is no weight"


def test_a_constant_that_is_concatenated_with_an_activation_is_no_weight() -> None:
    nodes = [node("Concat token x -> h", axis=0), node("MatMul h w -> y")]
    tensors = [weight("token", 1, 3), weight("w", 3, 5)]
    found = look(model(nodes, {"x": ("N", 3)}, "y", tensors))
    assert list(found.weights) == ["w"]
    assert found.skipped["token"] == "input 0 of Concat, which is no weight"


def test_weights_that_are_moved_before_they_are_concatenated_are_found() -> None:
    nodes = [
        node("Transpose a -> t"),
        node("Identity b -> u"),
        node("Concat t u -> v", axis=1),
        node("MatMul x v -> y"),
    ]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("a", 5, 3), weight("b", 3, 4)]))
    assert np.array_equal(found.matrices["a"], values("a", 5, 3))
    assert np.array_equal(found.matrices["b"], values("b", 3, 4).T)


def test_a_reshape_whose_shape_is_computed_ends_the_search() -> None:
    nodes = [node("Shape x -> shape"), node("Reshape w shape -> v"), node("MatMul x v -> y")]
    found = look(model(nodes, {"x": (3, 5)}, "y", [weight("w", 15)]))
    assert found.skipped["w"] == "input 0 of Reshape, which is no weight"


def test_a_reshape_that_mixes_dimensions_after_a_transpose_ends_the_search() -> None:
    nodes = [
        node("Transpose w -> t"),
        node("Reshape t shape -> v"),
        node("MatMul x v -> y"),
    ]
    tensors = [weight("w", 9, 4), constant("shape", [6, 6], np.int64)]
    found = look(model(nodes, {"x": ("N", 6)}, "y", tensors))
    assert found.skipped["w"] == "input 0 of Reshape, which is no weight"


@pytest.mark.parametrize("perm", [[0], [0, 0], [0, 2], [2, 1, 0]])
def test_a_transpose_that_contradicts_its_input_ends_the_search(perm: list[int]) -> None:
    nodes = [node("Transpose w -> v", perm=perm), node("MatMul x v -> y")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("w", 3, 5)]))
    assert found.skipped["w"] == "input 0 of Transpose, which is no weight"


@pytest.mark.parametrize(
    "text",
    [
        "Reshape w -> v",
        "Reshape w _ -> v",
        "DequantizeLinear w -> v",
        "MatMul w -> ",
        "Concat w ->",
    ],
)
def test_a_node_without_the_inputs_it_needs_is_met_with_a_reason(text: str) -> None:
    nodes = [node(text), node("MatMul x u -> y")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("w", 3, 5), weight("u", 3, 5)]))
    assert "u" in found.weights
    assert found.skipped.keys() | found.weights.keys() == {"u", "w"}


def test_a_constant_used_on_two_ways_is_one_weight_in_the_layout_of_the_first_user() -> None:
    nodes = [
        node("Transpose w -> t"),
        node("Gemm x w -> h", "first", transB=1),
        node("MatMul x t -> i", "second"),
        node("Add h i -> y"),
    ]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("w", 5, 3)]))
    assert [(of.op, of.node, of.size) for of in found.weights.values()] == [
        ("Gemm", "first", 15)
    ]
    assert np.array_equal(found.matrices["w"], values("w", 5, 3))
