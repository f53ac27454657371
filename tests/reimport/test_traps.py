"""Files that re-imports get wrong: shared, moved, renamed, nested and quantised weights."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from onnxprune.errors import UnsupportedError
from tests import models
from tests.models import constant, model, node, weight
from tests.reimport.imported import agrees, confirmed, imported

X = np.array([[1, -2, 3], [0.5, 4, -1]], np.float32)


def test_names_that_differ_only_in_a_dot_stay_two_tensors() -> None:
    nodes = [node("MatMul x a.b -> h"), node("MatMul h a_b -> y")]
    proto = model(nodes, {"x": [2, 3]}, "y", [weight("a.b", 3, 4), weight("a_b", 4, 2)])
    module = confirmed(proto, {"x": X})
    assert {path: tuple(t.shape) for path, t in module.tensors.items()} == {
        "a.b": (3, 4),
        "a_b": (4, 2),
    }


def test_one_tensor_with_two_uses_gets_the_sum_of_both_gradients() -> None:
    nodes = [node("Gemm x w -> h", transB=1), node("MatMul h w -> y")]
    module = confirmed(model(nodes, {"x": [2, 3]}, "y", [weight("w", 4, 3)]), {"x": X})
    assert list(module.tensors) == ["w"]


def test_a_transposed_weight_keeps_its_layout() -> None:
    nodes = [node("Transpose w -> t", perm=[1, 0]), node("Gemm x t -> y", alpha=0.5)]
    module = confirmed(model(nodes, {"x": [2, 3]}, "y", [weight("w", 4, 3)]), {"x": X})
    assert module.tensors["w"].shape == (4, 3)


def test_a_weight_from_a_constant_node_is_a_parameter_under_its_output() -> None:
    nodes = [node("Constant -> w", value=weight("", 2, 1, 2, 2)), node("Conv x w -> y")]
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    module = confirmed(model(nodes, {"x": [1, 1, 3, 3]}), {"x": x})
    assert list(module.tensors) == ["w"]


def test_floats_of_an_attribute_are_a_parameter() -> None:
    nodes = [node("Constant -> w", value_floats=[1.0, 2.0, 3.0]), node("Mul x w -> y")]
    module = confirmed(model(nodes, {"x": [2, 3]}), {"x": X})
    assert module.tensors["w"].tolist() == [1, 2, 3]


def test_a_half_precision_weight_behind_a_cast_is_computed_in_single() -> None:
    nodes = [node("Cast w -> f", to=TensorProto.FLOAT), node("MatMul x f -> y")]
    proto = model(nodes, {"x": [2, 3]}, "y", [weight("w", 3, 2, dtype=np.float16)])
    module = confirmed(proto, {"x": X})
    assert module.tensors["w"].dtype == torch.float32


def test_an_integer_weight_is_a_parameter_of_real_values() -> None:
    q = np.arange(-6, 6, dtype=np.int8).reshape(2, 1, 2, 3)
    tensors = [
        constant("q", q, np.int8),
        constant("s", [0.5, 2]),
        constant("z", [1, -2], np.int8),
    ]
    nodes = [node("DequantizeLinear q s z -> w", axis=0), node("Conv x w -> y")]
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    module = confirmed(model(nodes, {"x": [1, 1, 3, 3]}, "y", tensors), {"x": x})
    assert list(module.tensors) == ["q"]
    assert module.tensors["q"][0].tolist() == [[[-3.5, -3, -2.5], [-2, -1.5, -1]]]
    assert module.tensors["q"][1].tolist() == [[[4, 6, 8], [10, 12, 14]]]


def test_integers_behind_a_transpose_keep_their_layout_and_gradient() -> None:
    q = np.arange(-3, 3, dtype=np.int8).reshape(2, 3)
    tensors = [constant("q", q, np.int8), constant("s", 0.25), constant("z", 1, np.int8)]
    nodes = [
        node("Transpose q -> t", perm=[1, 0]),
        node("DequantizeLinear t s z -> w"),
        node("MatMul x w -> y"),
    ]
    # ONNX Runtime rounds the other factor to eight bits, too.
    module = confirmed(model(nodes, {"x": [2, 3]}, "y", tensors), {"x": X}, 0.01)
    assert module.tensors["q"].tolist() == [[-1, -0.75, -0.5], [-0.25, 0, 0.25]]


def test_the_weight_of_an_integer_product_gets_a_gradient() -> None:
    tensors = [
        constant("q", [[1, -2], [3, 4], [0, 5]], np.int8),
        constant("s", [0.5, 0.25]),
    ]
    nodes = [
        node("DynamicQuantizeLinear x -> xq xs xz"),
        node("MatMulInteger xq q xz -> i"),
        node("Cast i -> f", to=TensorProto.FLOAT),
        node("Mul xs s -> both"),
        node("Mul f both -> y"),
    ]
    module = agrees(model(nodes, {"x": [2, 3]}, "y", tensors), {"x": X})
    assert module.tensors["q"].tolist() == [[0.5, -0.5], [1.5, 1], [0, 1.25]]
    module(x=X)["y"].sum().backward()
    grad = module.tensors["q"].grad
    assert grad is not None
    # Inputs are rounded to steps of 6/255.
    assert torch.allclose(grad, torch.tensor(X.sum(0))[:, None].expand(3, 2), atol=0.05)


def test_a_weight_of_a_branch_is_found_where_it_lies() -> None:
    then = models.graph([node("MatMul x w -> a")], {}, "a", [weight("w", 3, 2)])
    other = models.graph([node("MatMul x w -> b")], {}, "b", [constant("w", np.ones((3, 2)))])
    proto = model(
        [node("If c -> y", "choice", then_branch=then, else_branch=other)], {"x": [2, 3]}
    )
    proto.graph.input.append(models.port("c", [], TensorProto.BOOL))
    for taken in (True, False):
        module = agrees(proto, {"x": X, "c": np.array(taken)})
        missing = module.unscored(module.tensors, {"x": X, "c": np.array(taken)})
        branch = "else" if taken else "then"
        assert missing == [f"choice.{branch}_branch/w"]


def test_a_function_is_called_with_the_attributes_of_its_caller() -> None:
    leaky = node("LeakyRelu h -> b")
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=1))
    body = [node("MatMul a w -> h"), leaky]
    function = models.function("Layer", "a w -> b", body, slope=0.1)
    nodes = [
        node("Layer x v -> m", domain="local", slope=0.5),
        node("Layer m u -> y", domain="local"),
    ]
    tensors = [weight("v", 3, 4), weight("u", 4, 2)]
    proto = model(nodes, {"x": [2, 3]}, "y", tensors, [function])
    confirmed(proto, {"x": X})


def test_a_weight_inside_a_function_is_one_parameter_for_all_calls() -> None:
    body = [node("Constant -> w", value=weight("c", 3, 3)), node("MatMul a w -> b")]
    function = models.function("Layer", "a -> b", body)
    nodes = [node("Layer x -> m", domain="local"), node("Layer m -> y", domain="local")]
    proto = model(nodes, {"x": [2, 3]}, "y", [], [function])
    module = confirmed(proto, {"x": X})
    assert list(module.tensors) == ["function:Layer/w"]


@pytest.mark.parametrize(
    ("nodes", "tensors"),
    [
        (
            [node("FusedMatMul x w -> y", domain="com.microsoft", transB=1, alpha=0.5)],
            [weight("w", 4, 3)],
        ),
        (
            [node("MatMul x w -> h"), node("Gelu h -> y", domain="com.microsoft")],
            [weight("w", 3, 4)],
        ),
        (
            [
                node("MatMul x w -> h"),
                node("SkipLayerNormalization h x g b -> y", domain="com.microsoft"),
            ],
            [weight("w", 3, 3), weight("g", 3), weight("b", 3)],
        ),
        (
            [node("MatMul x w -> h"), node("SimplifiedLayerNormalization h g -> y", axis=-1)],
            [weight("w", 3, 3), weight("g", 3)],
        ),
    ],
    ids=["FusedMatMul", "Gelu", "SkipLayerNormalization", "SimplifiedLayerNormalization"],
)
def test_operators_that_onnx_runtime_writes_are_known(
    nodes: list[onnx.NodeProto], tensors: list[TensorProto]
) -> None:
    confirmed(model(nodes, {"x": [2, 3]}, "y", tensors), {"x": X}, 2e-6)


def test_the_layout_of_one_processor_is_refused() -> None:
    proto = model(
        [node("Conv x w -> y", "c", domain="com.microsoft.nchwc")],
        {"x": [1, 8, 4, 4]},
        "y",
        [weight("w", 8, 8, 1, 1)],
    )
    with pytest.raises(UnsupportedError) as caught:
        imported(proto)
    assert str(caught.value) == (
        "node 'c' (Conv) has a layout that ONNX Runtime made for one processor"
    )


def test_nodes_in_any_order_are_computed() -> None:
    nodes = [node("Relu h -> y"), node("MatMul x w -> h")]
    module = imported(model(nodes, {"x": [2, 3]}, "y", [constant("w", np.eye(3))]))
    assert module(x=X)["y"].tolist() == [[1, 0, 3], [0.5, 4, 0]]


def test_an_initializer_that_is_also_an_input_needs_no_array() -> None:
    proto = model([node("MatMul x w -> y")], {"x": [2, 3]}, "y", [weight("w", 3, 2)])
    proto.graph.input.append(models.port("w", [3, 2]))
    module = confirmed(proto, {"x": X})
    assert module.inputs == ["x"]


def test_outputs_without_a_name_are_left_out() -> None:
    made = helper.make_node("LSTM", ["x", "w", "r"], ["", "y"], hidden_size=2)
    tensors = [weight("w", 1, 8, 3), weight("r", 1, 8, 2)]
    confirmed(model([made], {"x": [1, 2, 3]}, "y", tensors), {"x": X[None]})


def test_sparse_weights_are_computed_dense() -> None:
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [2.0, -1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [0, 5])
    proto = model([node("MatMul x w -> y")], {"x": [2, 3]})
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 2]))
    module = imported(proto)
    assert module(x=X)["y"].tolist() == [[2, -3], [1, 1]]
    assert module.tensors["w"].tolist() == [[2, 0], [0, 0], [0, -1]]


def test_double_precision_stays_double() -> None:
    proto = model([node("MatMul x w -> y")], {}, "y", [weight("w", 3, 2, dtype=np.float64)])
    proto.graph.input.append(models.port("x", [2, 3], TensorProto.DOUBLE))
    proto.graph.output[0].CopyFrom(models.port("y", [2, 2], TensorProto.DOUBLE))
    module = agrees(proto, {"x": X.astype(np.float64)}, 1e-15)
    assert module.tensors["w"].dtype == torch.float64


def test_an_output_of_integers_that_was_computed_in_floats_is_integers() -> None:
    tensors = [constant("s", 0.5), constant("z", 3, np.uint8)]
    proto = model([node("QuantizeLinear x s z -> y")], {"x": [2, 3]}, "y", tensors)
    proto.graph.output[0].CopyFrom(models.port("y", [2, 3], TensorProto.UINT8))
    found = imported(proto)(x=X)["y"]
    assert found.dtype == torch.uint8
    assert found.tolist() == [[5, 0, 9], [4, 11, 1]]
