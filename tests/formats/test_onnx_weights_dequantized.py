"""Weights behind DequantizeLinear, against the reference implementation of the onnx package."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.models import Array, constant, look, model, node, weight

CONV = ("Conv x f -> y", (0, 2, 3, 1))
MATMUL = ("MatMul x f -> y", (1, 0))
SHAPES = {CONV: (4, 3, 2, 5), MATMUL: (6, 10)}


def quantized(
    shape: tuple[int, ...], scales: tuple[int, ...], kind: Any = np.int8
) -> list[TensorProto]:
    """Make integers `w` with as many scales and zero points, all different."""
    count = int(np.prod(scales))
    scale = (np.arange(count) + 3).reshape(scales) / 8
    zero = (np.arange(count) % 50 + 1).reshape(scales)
    return [weight("w", *shape, dtype=kind), constant("s", scale), constant("z", zero, kind)]


def dequantized(tensors: list[TensorProto], **attributes: int) -> Array:
    """Let the onnx package compute the real values of `w`."""
    proto = model([node("DequantizeLinear w s z -> y", **attributes)], None, "y", tensors)
    return np.asarray(ReferenceEvaluator(proto).run(None, {})[0], np.float64)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize(
    ("use", "scales", "attributes"),
    [
        (CONV, (), {}),
        (CONV, (4,), {"axis": 0}),
        (CONV, (3,), {}),
        (CONV, (3,), {"axis": -3}),
        (CONV, (5,), {"axis": 3}),
        (CONV, (2, 3, 2, 5), {"axis": 0, "block_size": 2}),
        (MATMUL, (10,), {"axis": 1}),
        (MATMUL, (6,), {"axis": 0}),
        (MATMUL, (3, 10), {"axis": 0, "block_size": 2}),
        (MATMUL, (2, 10), {"axis": -2, "block_size": 3}),
        (MATMUL, (6, 2), {"axis": 1, "block_size": 5}),
    ],
)
def test_the_values_of_a_dequantized_weight_are_those_of_the_onnx_package(
    use: tuple[str, tuple[int, ...]], scales: tuple[int, ...], attributes: Any, kind: Any
) -> None:
    tensors = quantized(SHAPES[use], scales, kind)
    nodes = [node("DequantizeLinear w s z -> f", **attributes), node(use[0], "layer")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", tensors))
    of, real = found.weights["w"], dequantized(tensors, **attributes)
    assert (of.op, of.node, of.dtype) == (use[0].split()[0], "layer", np.dtype(kind).name)
    assert np.allclose(found.values["w"], real.reshape(-1), rtol=1e-6)
    rows = real.transpose(use[1]).reshape(real.shape[use[1][0]], -1)
    assert np.allclose(found.matrices["w"], rows, rtol=1e-6)


def test_a_last_block_may_be_shorter_than_the_others() -> None:
    tensors = quantized((7, 3), (3, 3))
    nodes = [
        node("DequantizeLinear w s z -> f", axis=0, block_size=3),
        node("MatMul x f -> y"),
    ]
    found = look(model(nodes, {"x": ("N", 7)}, "y", tensors))
    w, s, z = (numpy_helper.to_array(tensor).astype(float) for tensor in tensors)
    rows = [0, 0, 0, 1, 1, 1, 2]
    assert np.array_equal(found.matrices["w"], ((w - z[rows]) * s[rows]).T)


def test_blocks_along_a_dimension_of_one_are_a_scale_for_each_value() -> None:
    tensors = quantized((1, 6), (1, 6))
    nodes = [
        node("DequantizeLinear w s z -> f", axis=0, block_size=2),
        node("MatMul x f -> y"),
    ]
    found = look(model(nodes, {"x": ("N", 1)}, "y", tensors))
    w, s, z = (numpy_helper.to_array(tensor).astype(float) for tensor in tensors)
    assert np.array_equal(found.matrices["w"], ((w - z) * s).T)


def test_a_zero_point_that_is_not_given_is_zero() -> None:
    w, s, _ = quantized((3, 5), (5,))
    nodes = [node("DequantizeLinear w s -> f"), node("MatMul x f -> y")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [w, s]))
    real = numpy_helper.to_array(w).astype(float) * numpy_helper.to_array(s)
    assert np.array_equal(found.matrices["w"], real.T)


@pytest.mark.parametrize(("axis", "scales"), [(0, (5,)), (1, (3,))])
def test_scales_of_a_weight_that_was_transposed_first_follow_its_dimensions(
    axis: int, scales: tuple[int, ...]
) -> None:
    tensors = quantized((3, 5), scales)
    nodes = [
        node("Transpose w -> t"),
        node("DequantizeLinear t s z -> f", axis=axis),
        node("Gemm x f -> y", transB=1),
    ]
    found = look(model(nodes, {"x": ("N", 3)}, "y", tensors))
    w, s, z = (numpy_helper.to_array(tensor).astype(float) for tensor in tensors)
    stretch = (-1, 1) if axis == 0 else (1, -1)
    assert np.array_equal(found.matrices["w"], (w.T - z.reshape(stretch)) * s.reshape(stretch))


def test_scales_of_a_weight_that_was_reshaped_first_follow_its_dimensions() -> None:
    tensors = [*quantized((6, 10), (3,)), constant("shape", [3, 20], np.int64)]
    nodes = [
        node("Reshape w shape -> t"),
        node("DequantizeLinear t s z -> f", axis=0),
        node("MatMul x f -> y"),
    ]
    found = look(model(nodes, {"x": ("N", 3)}, "y", tensors))
    w, s, z = (numpy_helper.to_array(tensor).astype(float) for tensor in tensors[:3])
    assert np.array_equal(found.matrices["w"], ((w.reshape(3, 20).T - z) * s))


def test_blocks_of_a_weight_that_was_transposed_first_are_never_mistaken() -> None:
    tensors = quantized((4, 6), (3, 4))
    nodes = [
        node("Transpose w -> t"),
        node("DequantizeLinear t s z -> f", axis=0, block_size=2),
        node("MatMul x f -> y"),
    ]
    found = look(model(nodes, {"x": ("N", 6)}, "y", tensors))
    assert not found.weights
    assert found.skipped["w"]


def test_what_follows_dequantization_is_looked_through_as_for_floats() -> None:
    tensors = quantized((3, 5), (5,))
    nodes = [
        node("DequantizeLinear w s z -> f"),
        node("Transpose f -> t"),
        node("Cast t -> h", to=TensorProto.FLOAT),
        node("Gemm x h -> y", transB=1),
    ]
    found = look(model(nodes, {"x": ("N", 3)}, "y", tensors))
    w, s, z = (numpy_helper.to_array(tensor).astype(float) for tensor in tensors)
    assert np.array_equal(found.matrices["w"], ((w - z) * s).T)


def test_a_float_weight_that_is_quantized_and_back_stays_a_float_weight() -> None:
    w = weight("w", 4, 3, 2, 5)
    nodes = [
        node("QuantizeLinear w s z -> q", axis=0),
        node("DequantizeLinear q s z -> f", axis=0),
        node("Conv x f -> y", "layer"),
    ]
    found = look(model(nodes, {"x": (1, 3, 6, 6)}, "y", [w, *quantized((), (4,))[1:]]))
    assert (found.weights["w"].op, found.weights["w"].dtype) == ("Conv", "float32")
    real = numpy_helper.to_array(w)
    assert np.array_equal(found.values["w"], real.reshape(-1))
    assert np.array_equal(found.matrices["w"], real.transpose(0, 2, 3, 1).reshape(4, 30))
    assert found.skipped["s"] == "scale of quantised values"


@pytest.mark.parametrize(
    "nodes",
    [
        [node("DequantizeLinear w scale -> f"), node("MatMul x f -> y")],
        [node("QLinearMatMul x s z w scale z s z -> y")],
        [node("Cast w -> f", to=TensorProto.FLOAT), node("MatMul x f -> y")],
    ],
    ids=["DequantizeLinear", "QLinearMatMul", "Cast"],
)
def test_integers_whose_scale_is_not_constant_are_skipped_and_listed(nodes: Any) -> None:
    tensors = [weight("w", 3, 5, dtype=np.int8), constant("s", 0.5), constant("z", 1, np.int8)]
    found = look(model(nodes, {"x": ("N", 3), "scale": ()}, "y", tensors))
    assert not found.weights
    assert found.skipped == {"w": "integers without a known scale"}


def test_a_float_weight_keeps_its_place_when_its_scale_is_not_constant() -> None:
    nodes = [
        node("QuantizeLinear w scale -> q"),
        node("DequantizeLinear q scale -> f"),
        node("MatMul x f -> y"),
    ]
    found = look(model(nodes, {"x": ("N", 3), "scale": ()}, "y", [weight("w", 3, 5)]))
    assert list(found.weights) == ["w"]


def test_integers_that_are_no_weight_are_not_listed() -> None:
    nodes = [node("Cast w -> f", to=TensorProto.FLOAT), node("Add x f -> y")]
    found = look(model(nodes, {"x": ("N", 5)}, "y", [weight("w", 3, 5, dtype=np.int8)]))
    assert not found.weights
    assert not found.skipped
