"""Multiply-accumulates per sample, worked out by hand; None where a shape is not known."""

from typing import Any

import onnx
import pytest

from tests.models import constant, function, graph, look, model, node, weight

Shape = tuple[int | None, ...]


def macs(
    layer: onnx.NodeProto,
    shape: tuple[int, ...],
    x: Shape | None,
    y: Shape | None,
    **more: Any,
) -> int | None:
    """Count those of the weight `w` of one operator from the shapes of its `x` and `y`."""
    proto = model([*more.get("before", []), layer], {"x": ("N",)}, "y", [weight("w", *shape)])
    shapes = {name: list(dims) for name, dims in (("x", x), ("y", y)) if dims is not None}
    proto.graph.ClearField("input")
    return look(proto, shapes).weights["w"].macs


CASES: dict[str, tuple[onnx.NodeProto, tuple[int, ...], Shape, Shape, int]] = {
    # 4 filters of 3 x 2 x 5 weights, each at 8 x 9 places.
    "Conv": (node("Conv x w -> y"), (4, 3, 2, 5), (None, 3, 9, 13), (None, 4, 8, 9), 120 * 72),
    "Conv 1d": (node("Conv x w -> y"), (4, 3, 5), (None, 3, 13), (None, 4, 9), 60 * 9),
    "Conv, strided": (
        node("Conv x w -> y", strides=[2, 2]),
        (4, 3, 2, 2),
        (None, 3, 8, 8),
        (None, 4, 4, 4),
        48 * 16,
    ),
    # A filter sees 3 of the 6 channels: as many products as there are weights, at each place.
    "Conv, 2 groups": (
        node("Conv x w -> y", group=2),
        (4, 3, 2, 5),
        (None, 6, 9, 13),
        (None, 4, 8, 9),
        120 * 72,
    ),
    "Conv, a batch that is fixed": (
        node("Conv x w -> y"),
        (4, 3, 2, 5),
        (16, 3, 9, 13),
        (16, 4, 8, 9),
        120 * 72,
    ),
    # Each of the 9 x 13 inputs is spread over the kernel.
    "ConvTranspose": (
        node("ConvTranspose x w -> y"),
        (3, 4, 2, 5),
        (None, 3, 9, 13),
        (None, 4, 10, 17),
        120 * 117,
    ),
    "Gemm": (node("Gemm x w -> y"), (3, 5), (None, 3), (None, 5), 15),
    "Gemm, a batch that is fixed": (node("Gemm x w -> y"), (3, 5), (8, 3), (8, 5), 15),
    "Gemm from the left": (node("Gemm w x -> y"), (5, 3), (3, 7), (5, 7), 15 * 7),
    "MatMul": (node("MatMul x w -> y"), (3, 5), (None, 3), (None, 5), 15),
    "MatMul on a sequence of 7": (
        node("MatMul x w -> y"),
        (3, 5),
        (None, 7, 3),
        (None, 7, 5),
        15 * 7,
    ),
    "MatMul on a grid of 7 x 2": (
        node("MatMul x w -> y"),
        (3, 5),
        (None, 7, 2, 3),
        (None, 7, 2, 5),
        15 * 14,
    ),
    "MatMul without a batch": (node("MatMul x w -> y"), (3, 5), (3,), (5,), 15),
    "MatMul, a vector": (node("MatMul x w -> y"), (3,), (None, 7, 3), (None, 7), 3 * 7),
    "MatMul from the left": (
        node("MatMul w x -> y"),
        (5, 3),
        (None, 3, 7),
        (None, 5, 7),
        15 * 7,
    ),
    "MatMul from the left, without a batch": (
        node("MatMul w x -> y"),
        (5, 3),
        (3, 7),
        (5, 7),
        15 * 7,
    ),
    "MatMul, a vector from the left": (node("MatMul w x -> y"), (3,), (3, 7), (7,), 3 * 7),
    "MatMul from the left, a vector": (node("MatMul w x -> y"), (5, 3), (3,), (5,), 15),
    # 2 heads of 3 x 5 weights, on 7 positions each.
    "MatMul, batched": (
        node("MatMul x w -> y"),
        (2, 3, 5),
        (None, 2, 7, 3),
        (None, 2, 7, 5),
        30 * 7,
    ),
    "MatMul, batched, without another batch": (
        node("MatMul x w -> y"),
        (2, 3, 5),
        (2, 7, 3),
        (2, 7, 5),
        30 * 7,
    ),
    "MatMul, batched by one": (
        node("MatMul x w -> y"),
        (1, 3, 5),
        (None, 2, 7, 3),
        (None, 2, 7, 5),
        15 * 14,
    ),
    "MatMul, batched, from the left": (
        node("MatMul w x -> y"),
        (2, 5, 3),
        (None, 2, 3, 7),
        (None, 2, 5, 7),
        30 * 7,
    ),
    # 7 steps.
    "LSTM": (
        node("LSTM x w r -> y", hidden_size=5),
        (1, 20, 3),
        (7, None, 3),
        (7, 1, None, 5),
        60 * 7,
    ),
    "GRU, samples first": (
        node("GRU x w r -> y", hidden_size=5, layout=1),
        (1, 15, 3),
        (None, 7, 3),
        (None, 7, 1, 5),
        45 * 7,
    ),
    "RNN, R": (
        node("RNN x v w -> y", hidden_size=5),
        (1, 5, 5),
        (7, None, 3),
        (7, 1, None, 5),
        25 * 7,
    ),
    "Attention": (
        node("Attention x w -> y", "", "com.microsoft", num_heads=2),
        (4, 12),
        (None, 7, 4),
        (None, 7, 4),
        48 * 7,
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_multiply_accumulates_are_those_worked_out_by_hand(title: str) -> None:
    layer, shape, x, y, expected = CASES[title]
    assert macs(layer, shape, x, y) == expected


@pytest.mark.parametrize("title", [title for title in CASES if title.split(",")[0] != "Gemm"])
def test_multiply_accumulates_are_unknown_without_shapes(title: str) -> None:
    layer, shape, *_ = CASES[title]
    assert macs(layer, shape, None, None) is None


def test_multiply_accumulates_are_unknown_where_a_dimension_is() -> None:
    assert macs(node("Conv x w -> y"), (4, 3, 2, 5), None, (None, 4, None, 9)) is None
    assert macs(node("MatMul x w -> y"), (3, 5), None, (None, None, 5)) is None
    assert macs(node("LSTM x w r -> y", hidden_size=5), (1, 20, 3), (None, 1, 3), None) is None


def test_multiply_accumulates_are_unknown_where_batches_are_transposed() -> None:
    layer = node("FusedMatMul x w -> y", "", "com.microsoft", transBatchB=1)
    assert macs(layer, (3, 2, 5), (2, 7, 3), (2, 7, 5)) is None


def test_a_weight_used_twice_costs_twice() -> None:
    nodes = [node("MatMul x w -> h"), node("MatMul h w -> y")]
    proto = model(nodes, {"x": ("N", 7, 3)}, "y", [weight("w", 3, 3)])
    found = look(proto, {"h": [None, 7, 3], "y": [None, 7, 3]})
    assert found.weights["w"].macs == 2 * 7 * 9


def test_a_use_whose_shape_is_unknown_makes_the_sum_unknown() -> None:
    nodes = [node("MatMul x w -> h"), node("MatMul h w -> y")]
    proto = model(nodes, {"x": ("N", 7, 3)}, "y", [weight("w", 3, 3)])
    assert look(proto, {"h": [None, 7, 3]}).weights["w"].macs is None


def test_a_reshaped_weight_counts_as_the_matrix_that_it_has_become() -> None:
    nodes = [node("Reshape w shape -> v"), node("MatMul x v -> y")]
    tensors = [weight("w", 4, 3, 2, 5), constant("shape", [24, 5], "int64")]
    found = look(model(nodes, {"x": ("N", 24)}, "y", tensors), {"y": [None, 5]})
    assert found.weights["w"].macs == 120


def test_a_matrix_that_was_unsqueezed_counts_as_the_kernel_that_it_has_become() -> None:
    nodes = [node("Unsqueeze w axes -> v"), node("Conv x v -> y")]
    tensors = [weight("w", 4, 3), constant("axes", [2, 3], "int64")]
    found = look(model(nodes, {"x": ("N", 3, 7, 9)}, "y", tensors), {"y": [None, 4, 7, 9]})
    assert found.weights["w"].macs == 12 * 63


def test_parts_of_a_weight_are_not_counted_as_the_whole() -> None:
    nodes = [
        node("Split w -> a b", axis=1, num_outputs=2),
        node("MatMul x a -> y"),
        node("MatMul x b -> z"),
    ]
    proto = model(nodes, {"x": ("N", 3)}, "y z", [weight("w", 3, 10)])
    found = look(proto, {"y": [None, 5], "z": [None, 5]})
    assert found.weights["w"].macs in (None, 30)


def test_a_lookup_multiplies_nothing() -> None:
    nodes = [node("Gather t ids -> e"), node("Gemm x t -> y", transB=1)]
    proto = model(nodes, {"x": ("N", 4), "ids": ("N",)}, "e y", [weight("t", 7, 4)])
    assert look(proto).weights["t"].macs == 28
    alone = model(nodes[:1], {"ids": ("N",)}, "e", [weight("t", 7, 4)])
    assert look(alone).weights["t"].macs == 0


def test_shapes_that_the_file_itself_declares_are_used() -> None:
    proto = model([node("MatMul x w -> y")], {"x": ("N", 7, 3)}, "y", [weight("w", 3, 5)])
    dims = [onnx.TensorShapeProto.Dimension(dim_param="N")]
    dims += [onnx.TensorShapeProto.Dimension(dim_value=size) for size in (7, 5)]
    proto.graph.output[0].type.tensor_type.shape.dim.extend(dims)
    assert look(proto).weights["w"].macs == 15 * 7


def test_multiply_accumulates_inside_subgraphs_and_functions_are_unknown() -> None:
    body = graph([node("Gemm x w -> a")], None, "a")
    other = graph([node("Relu x -> b")], None, "b")
    choice = node("If c -> y", then_branch=body, else_branch=other)
    inside = model([choice], {"x": (2, 3), "c": ()}, "y", [weight("w", 3, 3)])
    assert look(inside).weights["w"].macs is None
    dense = function("Dense", "a b -> c", [node("Gemm a b -> c")])
    called = node("Dense x w -> y", domain="local")
    assert (
        look(model([called], {"x": (2, 3)}, "y", [weight("w", 3, 3)], [dense]))
        .weights["w"]
        .macs
        is None
    )
