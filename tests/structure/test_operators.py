"""Each operator between two layers: whether zero channels go through it, and go."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.structure.groups import find_channels
from tests import models
from tests.models import node, port
from tests.structure.cutting import TOLERANCE, Result, take_out, tensors_of, zero
from tests.structure.nets import Net

GONE, STAY = 6, 8
Build = Callable[[Net], str]


def between(build: Build, opset: int = 21, inputs: int = 8) -> Result:
    """Zero two of eight channels, let something be done to them, and read them."""
    net = Net()
    net.inputs = {"x": [2, 3, 8, 8]}
    net.conv("x", "a", 3, 8)
    net.conv(build(net), "y", inputs, 4)
    model = net.build()
    model.opset_import[0].version = opset
    del model.graph.output[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    unknown = port("y", [2, 4, 8, 8])
    known = next((each for each in inferred.graph.value_info if each.name == "y"), unknown)
    model.graph.output.append(known)
    return zeroed(model)


def zeroed(model: onnx.ModelProto) -> Result:
    tensors = tensors_of(model)
    for name in ("a.w", "a.b"):
        zero(tensors[name], 0, [2, 5])
    result = take_out(model, needed=False)
    assert result.largest <= TOLERANCE
    return result


def plain(op: str, *more: str, **attributes: object) -> Build:
    domain = str(attributes.pop("domain", ""))
    text = f"{op} a {' '.join(more)} -> mid"

    def build(net: Net) -> str:
        net.weight("v", 8, 1, 1)
        net.weight("last", 8)
        net.numbers("low", -0.5, "float32")
        net.numbers("high", 0.25, "float32")
        net.numbers("two", 2.0, "float32")
        net.numbers("below", -2.0, "float32")
        net.numbers("yes", True, "bool")
        net.nodes.append(node(text, "mid", domain, **attributes))
        return "mid"

    return build


ZERO_FOR_ZERO = [
    *(plain(op) for op in ("Abs", "Neg", "Relu", "Tanh", "Elu", "Gelu", "Mish", "HardSwish")),
    *(plain(op) for op in ("Erf", "Selu", "Softsign", "LeakyRelu", "Identity", "Dropout")),
    plain("Clip", "low", "high"),
    plain("Clip", "_", "high"),
    plain("Pow", "two"),
    plain("Mul", "v"),
    plain("Div", "two"),
    plain("Add", "a"),
    plain("Sum", "a", "a"),
    plain("Mean", "a", "a"),
    plain("Max", "a"),
    plain("Max", "below"),
    plain("Min", "two"),
    plain("PRelu", "v"),
    plain("Gelu", domain="com.microsoft"),
    plain("QuickGelu", domain="com.microsoft"),
    plain("HardSigmoid", alpha=0.5, beta=-0.1),
    plain("MaxPool", kernel_shape=[2, 2]),
    plain("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    plain("LpPool", kernel_shape=[2, 2]),
    plain("GlobalMaxPool"),
    plain("InstanceNormalization", "last", "zeros"),
]


@pytest.mark.parametrize("build", ZERO_FOR_ZERO)
def test_zero_channels_go_where_zero_is_made_of_zero(build: Build) -> None:
    def made(net: Net) -> str:
        net.numbers("zeros", np.zeros(8), "float32")
        return build(net)

    result = between(made)
    assert result.dims("a.w")[0] == GONE
    assert result.dims("y.w")[1] == GONE


@pytest.mark.parametrize(
    "build",
    [
        *(plain(op) for op in ("Sigmoid", "Exp", "Cos", "Softplus", "HardSigmoid")),
        plain("Add", "v"),
        plain("Sub", "two"),
        plain("Max", "high"),
        plain("Clip", "high", "two"),
        plain("LRN", size=3),
        plain("Softmax", axis=1),
        plain("InstanceNormalization", "last", "last"),
        plain("FastGelu", "short", domain="com.microsoft"),
    ],
)
def test_channels_stay_that_something_else_is_made_of(build: Build) -> None:
    def made(net: Net) -> str:
        net.weight("short", 8)
        return build(net)

    result = between(made)
    assert result.dims("a.w")[0] == STAY


def test_a_bias_that_makes_a_channel_zero_again_lets_it_go() -> None:
    def build(net: Net) -> str:
        net.numbers("minus", [[[-1.0]]] * 8, "float32")
        return net.add("Relu", net.add("Add", "a", "minus", out="less"), out="mid")

    assert between(build).dims("y.w")[1] == GONE


def test_a_choice_between_zeros_is_zero() -> None:
    def build(net: Net) -> str:
        net.numbers("yes", [[True] * 8] * 8, "bool")
        net.add("Tanh", "a", out="other")
        return net.add("Where", "yes", "a", "other", out="mid")

    assert between(build).dims("y.w")[1] == GONE


def test_channels_are_spread_over_pixels_in_blocks() -> None:
    for mode, gone in (("DCR", [2, 6]), ("CRD", [4, 5, 6, 7])):
        net = Net()
        net.inputs = {"x": [2, 3, 8, 8]}
        net.conv("x", "a", 3, 16)
        net.add(
            "DepthToSpace", net.add("Relu", "a", out="r"), out="mid", blocksize=2, mode=mode
        )
        net.conv("mid", "y", 4, 4)
        model = net.build()
        rows = [1, 5, 9, 13] if mode == "DCR" else [4, 5, 6, 7]
        for name in ("a.w", "a.b"):
            zero(tensors_of(model)[name], 0, [*rows, gone[0]])
        result = take_out(model)
        assert result.largest <= TOLERANCE
        assert result.dims("a.w")[0] == 12
        assert result.dims("y.w")[1] == 3


@pytest.mark.parametrize("way", ["literal", "counted", "mixed"])
def test_sizes_of_a_resize_follow(way: str) -> None:
    def build(net: Net) -> str:
        net.numbers("pixels", [16, 16])
        if way == "literal":
            sizes = net.numbers("sizes", [2, 8, 16, 16])
        else:
            net.nodes.append(
                node("Shape a -> head", start=0, end=2 if way == "counted" else 1)
            )
            parts = ["head", "pixels"]
            if way == "mixed":
                parts.insert(1, net.numbers("eight", [8]))
            sizes = net.add("Concat", *parts, out="sizes", axis=0)
        return net.add("Resize", "a", "_", "_", sizes, out="mid", mode="nearest")

    result = between(build)
    assert result.dims("y.w")[1] == GONE
    assert ("Shape" in {each.op_type for each in result.model.graph.node}) == (
        way == "counted"
    )


def test_older_operators_have_their_numbers_as_attributes() -> None:
    def build(net: Net) -> str:
        net.nodes.append(node("Split a -> left right", "split", axis=1, split=[3, 5]))
        net.nodes.append(node("Slice right -> cut", starts=[1], ends=[5], axes=[1]))
        net.nodes.append(node("Concat left cut -> cat", axis=1))
        net.nodes.append(node("Upsample cat scales -> up", mode="nearest"))
        net.numbers("scales", [1, 1, 2, 2], "float32")
        return net.add("Pad", "up", out="mid", pads=[0, 2, 0, 0, 0, 1, 0, 0], value=0.0)

    result = between(build, opset=9, inputs=10)
    # The channel that is cut off goes, too, and those that are put around.
    assert result.dims("a.w")[0] == GONE - 1
    assert result.dims("y.w")[1] == 5
    nodes = {each.op_type: each for each in result.model.graph.node}
    numbers = {
        name: [list(each.ints) for each in nodes[op].attribute if each.name == name]
        for op, name in (
            ("Split", "split"),
            ("Slice", "starts"),
            ("Slice", "ends"),
            ("Pad", "pads"),
        )
    }
    assert numbers == {
        "split": [[2, 3]],
        "starts": [[0]],
        "ends": [[3]],
        "pads": [[0, 0, 0, 0, 0, 0, 0, 0]],
    }


@pytest.mark.parametrize("counted", [False, True])
def test_pieces_without_sizes_get_some(counted: bool) -> None:
    def build(net: Net) -> str:
        more = {"num_outputs": 2} if counted else {}
        net.nodes.append(node("Split a -> left right", "split", axis=1, **more))
        net.add("Relu", "left", out="l")
        return net.add("Concat", "l", "right", out="mid", axis=1)

    result = between(build, opset=21 if counted else 13)
    assert result.dims("y.w")[1] == GONE
    (split,) = [each for each in result.model.graph.node if each.op_type == "Split"]
    assert onnx.numpy_helper.to_array(tensors_of(result.model)[split.input[1]]).tolist() == [
        3,
        3,
    ]


def test_unequal_pieces_are_told() -> None:
    net = Net()
    net.inputs = {"x": [2, 3, 8, 8]}
    net.conv("x", "a", 3, 8)
    net.nodes.append(node("Split a -> left right", "split", axis=1, num_outputs=2))
    net.conv(net.add("Concat", "right", "left", out="mid", axis=1), "y", 8, 4)
    model = net.build()
    for name in ("a.w", "a.b"):
        zero(tensors_of(model)[name], 0, [0, 1, 2])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    (split,) = [each for each in result.model.graph.node if each.op_type == "Split"]
    assert onnx.numpy_helper.to_array(tensors_of(result.model)[split.input[1]]).tolist() == [
        1,
        4,
    ]
    assert "num_outputs" not in {each.name for each in split.attribute}


def test_a_sum_over_channels_misses_no_zeros() -> None:
    def build(net: Net) -> str:
        net.add("ReduceSum", "a", net.numbers("one", [1]), out="sum")
        return net.add("Add", "a", "sum", out="mid")

    result = between(build)
    # The sum is added to zeros, too: what comes of them is not zero.
    assert result.dims("a.w")[0] == STAY
    net = Net()
    net.inputs = {"x": [2, 3, 8, 8]}
    net.conv("x", "a", 3, 8)
    net.add("ReduceL2", "a", net.numbers("one", [1]), out="y")
    assert zeroed(net.build()).dims("a.w")[0] == GONE


@pytest.mark.parametrize(
    "build",
    [
        lambda net: net.add("ReduceMean", "a", net.numbers("one", [1]), out="mean"),
        lambda net: net.add("ReduceMax", "a", out="mean"),
        lambda net: net.add("Tile", "a", net.numbers("times", [1, 2, 1, 1]), out="mean"),
        lambda net: net.add("Gather", "a", net.numbers("at", 3), out="mean", axis=1),
        lambda net: net.add("Transpose", "a", out="mean", perm=[0, 2, 3, 1]),
    ],
)
def test_what_looks_at_all_channels_at_once_keeps_them(build: Build) -> None:
    net = Net()
    net.inputs = {"x": [2, 3, 8, 8]}
    net.conv("x", "a", 3, 8)
    net.add("Softmax", build(net), out="y", axis=-1)
    assert zeroed(net.build()).dims("a.w")[0] == STAY


def test_axes_of_length_one_come_and_go() -> None:
    def build(net: Net) -> str:
        first, last = net.numbers("first", [0]), net.numbers("last", [-1])
        x = net.add("Unsqueeze", "a", first, out="u")
        x = net.add("Tile", x, net.numbers("times", [2, 1, 1, 1, 1]), out="t")
        x = net.add("ReduceMax", x, first, out="m", keepdims=1)
        x = net.add("Squeeze", x, first, out="s")
        x = net.add("Squeeze", net.add("Unsqueeze", x, last, out="w"), last, out="n")
        shape = net.numbers("shape", [2, 8, 8, 8])
        return net.add("Expand", x, shape, out="mid")

    assert between(build).dims("y.w")[1] == GONE


def test_whatever_has_length_one_is_not_dropped_with_it() -> None:
    net = Net()
    net.inputs = {"x": [2, 3, 8, 8]}
    net.conv("x", "a", 3, 8)
    x = net.add("Squeeze", net.add("GlobalAveragePool", "a", out="g"), out="s")
    net.dense(x, "y", 8, 3)
    assert zeroed(net.build()).dims("a.w")[0] == STAY


def test_weights_are_multiplied_on_either_side_and_turned() -> None:
    net = Net()
    net.inputs = {"x": [6, 4]}
    net.weight("a.w", 8, 6)
    net.nodes.append(node("MatMul a.w x -> left"))
    net.nodes.append(node("Relu left -> r"))
    net.weight("w", 8, 5)
    net.nodes.append(node("Gemm r w c -> g", transA=1, alpha=0.5, beta=2.0))
    net.weight("c", 5)
    net.weight("v", 5)
    net.nodes.append(node("MatMul g v -> y"))
    model = net.build()
    zero(tensors_of(model)["a.w"], 0, [2, 5])
    zero(tensors_of(model)["v"], 0, [1])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert (result.dims("a.w"), result.dims("w"), result.dims("v")) == ([6, 6], [6, 4], [4])


def test_weights_behind_other_operators_are_cut_before_them() -> None:
    net = Net()
    net.inputs = {"x": [2, 6]}
    net.weight("a.w", 8, 6)
    net.nodes.append(node("Transpose a.w -> turned", perm=[1, 0]))
    net.nodes.append(node("MatMul x turned -> a"))
    net.weight("flat", 40)
    net.nodes.append(node("Reshape flat shape -> square"))
    net.numbers("shape", [8, 5])
    net.nodes.append(node("Cast square -> cast", to=TensorProto.FLOAT))
    net.nodes.append(node("MatMul a cast -> y"))
    model = net.build()
    zero(tensors_of(model)["a.w"], 0, [2, 5])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert (result.dims("a.w"), result.dims("flat"), result.dims("shape")) == (
        [6, 6],
        [30],
        [2],
    )


def test_numbers_may_be_listed_by_a_node() -> None:
    def build(net: Net) -> str:
        net.nodes.append(helper.make_node("Constant", [], ["shape"], value_ints=[2, 8, 64]))
        net.nodes.append(helper.make_node("Constant", [], ["one"], value_int=1))
        x = net.add("Reshape", "a", "shape", out="lines")
        return net.add("Reshape", x, net.numbers("back", [0, 8, 8, 8]), out="mid")

    assert between(build).dims("y.w")[1] == GONE


def test_layers_over_other_axes_keep_channels_apart() -> None:
    def build(net: Net) -> str:
        net.weight("scale", 8)
        net.weight("shift", 8)
        x = net.add("LayerNormalization", "a", "scale", out="norm", axis=-1)
        return net.add("Mul", x, "a", out="mid")

    assert between(build).dims("y.w")[1] == GONE


def test_what_is_put_together_along_another_axis_is_zero_only_in_both() -> None:
    net = Net()
    net.inputs = {"x": [2, 3, 8, 8]}
    net.conv("x", "a", 3, 8)
    net.conv("x", "b", 3, 8)
    net.conv(net.add("Concat", "a", "b", out="tall", axis=2), "y", 8, 4)
    model = net.build()
    for name in ("b.w", "b.b"):
        zero(tensors_of(model)[name], 0, [5, 6])
    result = zeroed(model)
    assert result.dims("a.w")[0] == result.dims("b.w")[0] == 7


def test_attributes_of_the_wrong_kind_are_not_followed(tmp_path: Path) -> None:
    def build(net: Net) -> str:
        return net.add("Relu", "a", out="mid")

    assert between(build).dims("a.w")[0] == GONE
    net = Net()
    net.inputs = {"x": [2, 3, 8, 8]}
    net.conv("x", "a", 3, 8)
    net.nodes.append(node("Transpose a -> mid", perm=[0, 1, 2, 2]))
    net.nodes.append(node("Split a -> left right", "split", axis=[1, 2]))
    net.conv("mid", "y", 8, 4)
    made = models.model(net.nodes, net.inputs, "y", net.tensors)
    with load_onnx(models.save(tmp_path / "m.onnx", made)) as opened:
        groups = find_channels(opened, {"x": [2, 3, 8, 8]})
    (reason,) = [group.reason for group in groups if "a.w" in group.producers]
    assert reason == "Transpose 'mid' has a wrong order"
