"""What is left of nets of every kind computes the same, and nothing stays that could go."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from tests.models import node
from tests.structure import nets
from tests.structure.cutting import (
    TOLERANCE,
    Result,
    dropped,
    take_out,
    tensors_of,
    zero,
    zero_filters,
    zero_units,
)

SHARES = (0.3, 0.5)
NETS: list[Callable[[], onnx.ModelProto]] = [
    nets.plain,
    nets.residual,
    nets.mobile,
    nets.unet,
    nets.shuffled,
    nets.recurrent,
]


def left(count: int, share: float) -> int:
    return count - len(dropped(count, share))


def removed(model: onnx.ModelProto, share: float = 0.5) -> Result:
    result = take_out(zero_filters(model, share))
    assert result.largest <= TOLERANCE
    assert result.bytes[1] < result.bytes[0]
    return result


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_what_is_left_computes_the_same(
    make: Callable[[], onnx.ModelProto], share: float
) -> None:
    removed(make(), share)


@pytest.mark.parametrize("share", SHARES)
def test_filters_go_with_all_that_belongs_to_them(share: float) -> None:
    result = removed(nets.plain(), share)
    a, b, h = left(16, share), left(20, share), left(24, share)
    assert result.dims("ac.w") == [a, 3, 3, 3]
    assert [result.dims(f"an.{part}") for part in ("scale", "shift", "mean", "var")] == [
        [a]
    ] * 4
    assert result.dims("b.w") == [b, a, 3, 3]
    assert result.dims("h.w") == [h, b * 16]
    assert result.dims("y.w") == [5, h]
    assert result.groups["y.w"].reason == "it reaches the model's output 'y'"


def test_what_meets_in_a_sum_goes_together() -> None:
    result = removed(nets.residual())
    assert result.dims("stemc.w") == [6, 3, 3, 3]
    assert result.dims("r1b.w") == [6, 5, 3, 3]
    assert result.dims("proj.w") == [9, 6, 1, 1]
    assert result.groups["stemc.w"].producers == ("stemc.w", "r1b.w")


def test_a_channel_stays_that_only_one_side_of_a_sum_has_zero() -> None:
    model = nets.residual()
    tensors = tensors_of(model)
    for name in ("stemc.w", "stemc.b", "stemn.scale", "stemn.shift"):
        zero(tensors[name], 0, [2, 3])
    for name in ("r1b.w", "r1b.b", "r1m.scale", "r1m.shift"):
        zero(tensors[name], 0, [3, 4])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert result.dims("stemc.w")[0] == 11


def test_a_channel_goes_whose_constant_an_activation_makes_zero() -> None:
    model = nets.residual()
    tensors = tensors_of(model)
    zero(tensors["r1c.w"], 0, [0, 1])
    zero(tensors["r1n.scale"], 0, [0, 1, 2])
    shift = numpy_helper.to_array(tensors["r1n.shift"]).copy()
    shift[[0, 1, 2]] = [-1.5, 0.5, -0.1]
    tensors["r1n.shift"].CopyFrom(numpy_helper.from_array(shift, "r1n.shift"))
    result = take_out(model)
    assert result.largest <= TOLERANCE
    # Relu makes zero of what is always below it; 0.5 it leaves.
    assert result.dims("r1c.w")[0] == 8


def test_a_channel_goes_that_nobody_reads() -> None:
    model = nets.residual()
    zero(tensors_of(model)["r1b.w"], 1, [4])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert result.dims("r1c.w")[0] == 9


def test_depthwise_filters_and_gates_go_with_their_channels() -> None:
    result = removed(nets.mobile())
    (conv,) = [n for n in result.model.graph.node if n.name == "d"]
    groups = [each.i for each in conv.attribute if each.name == "group"]
    assert groups == [12]
    assert result.dims("d.w") == [12, 1, 3, 3]
    assert result.dims("s1.w") == [3, 12, 1, 1]
    assert result.dims("s2.w") == [12, 3, 1, 1]
    assert result.dims("p.w") == [4, 12, 1, 1]


def test_joined_channels_go_from_the_columns_that_read_them() -> None:
    result = removed(nets.unet())
    assert result.dims("dc.w") == [7, 5 + 6, 3, 3]
    assert result.dims("ec.w") == [left(9, 0.5), 7 + 4, 3, 3]
    assert result.dims("up.w") == [8, 5, 2, 2]
    assert result.dims("y.w")[0] == 2


def test_groups_of_a_convolution_go_only_whole() -> None:
    model = nets.grouped()
    tensors = tensors_of(model)
    for name in ("a.w", "a.b"):
        zero(tensors[name], 0, [4, 5, 6, 7, 12])
    for name in ("g.w", "g.b"):
        zero(tensors[name], 0, [6, 7, 8, 9, 10, 11, 20])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert result.dims("a.w") == [12, 3, 3, 3]
    assert result.dims("g.w") == [18, 4, 3, 3]
    assert result.dims("b.w") == [10, 18, 3, 3]
    (conv,) = [n for n in result.model.graph.node if n.name == "g"]
    assert [each.i for each in conv.attribute if each.name == "group"] == [3]


def test_shuffled_channels_go_in_pairs() -> None:
    model = nets.shuffled()
    tensors = tensors_of(model)
    for name, rows in (("a", [1, 2]), ("b", [2, 3])):
        zero(tensors[f"{name}.w"], 0, rows)
        zero(tensors[f"{name}.b"], 0, rows)
    result = take_out(model)
    assert result.largest <= TOLERANCE
    # Channel 2 of both halves is zero; channel 1 is of the left one alone.
    assert result.dims("a.w")[0] == 15
    assert result.dims("b.w") == [7, 8, 3, 3]
    assert result.dims("c.w")[1] == 14
    split = next(n for n in result.model.graph.node if n.op_type == "Split")
    sizes = tensors_of(result.model)[split.input[1]]
    assert onnx.numpy_helper.to_array(sizes).tolist() == [7, 8]


def head_rows(head: int, size: int = 4) -> list[int]:
    return list(range(head * size, (head + 1) * size))


def test_heads_go_whole() -> None:
    model = nets.transformer()
    tensors = tensors_of(model)
    zero(tensors["v.w"], 1, [*head_rows(1), *head_rows(3)[:3]])
    zero(tensors["v.b"], 0, [*head_rows(1), *head_rows(3)[:3]])
    zero(tensors["o.w"], 0, head_rows(2))
    result = take_out(model)
    assert result.largest <= TOLERANCE
    for name in ("q.w", "k.w", "v.w"):
        assert result.dims(name) == [16, 8]
    assert result.dims("q.b") == [8]
    assert result.dims("o.w") == [8, 16]
    group = result.groups["q.w"]
    assert (group.before, group.after) == (4, 2)


def test_heads_of_a_fused_projection_go_from_queries_keys_and_values() -> None:
    model = nets.transformer(fused=True)
    tensors = tensors_of(model)
    rows = [part * 16 + row for part in range(3) for row in head_rows(2)]
    zero(tensors["qkv.w"], 1, rows)
    zero(tensors["qkv.b"], 0, rows)
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert result.dims("qkv.w") == [16, 36]
    assert result.dims("o.w") == [12, 16]


@pytest.mark.parametrize("make", [nets.folded_heads, nets.counted_heads])
def test_heads_go_however_an_exporter_writes_them(
    make: Callable[[], onnx.ModelProto], tmp_path: Path
) -> None:
    model = make()
    zeroed = zero_units(model, 0.5, tmp_path)
    result = take_out(model, {"N": 3, "S": 5})
    assert result.largest <= TOLERANCE
    first = "q.w" if "q.w" in zeroed else "qkv.w"
    assert zeroed[first] == 2
    assert result.groups[first].before - result.groups[first].after == 2
    assert result.dims("y.w")[1 if first == "qkv.w" else 0] == 8


def test_a_bias_of_zeros_that_is_made_at_run_time_loses_its_channels() -> None:
    net = nets.Net()
    net.weight("a.w", 8, 3, 1, 1)
    net.nodes.append(node("Shape a.w -> rows", start=0, end=1))
    net.add("Expand", net.numbers("zero", 0.0, "float32"), "rows", out="made")
    net.add("Conv", "x", "a.w", "made", out="a")
    net.nodes.append(node("Shape a.w -> again", start=0, end=1))
    net.add("ConstantOfShape", "again", out="zeros")
    net.add("InstanceNormalization", "a", net.weight("scale", 8), "zeros", out="n")
    net.conv(net.add("Relu", "n", out="r"), "y", 8, 2)
    model = net.build()
    zero(tensors_of(model)["a.w"], 0, [0, 3])
    zero(tensors_of(model)["scale"], 0, [0, 3])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert result.dims("a.w") == [6, 3, 1, 1]
    assert result.dims("scale") == [6]


def test_hidden_channels_of_an_mlp_go() -> None:
    model = nets.transformer()
    tensors = tensors_of(model)
    zero(tensors["up.w"], 1, [0, 5, 9])
    zero(tensors["up.b"], 0, [0, 5, 9])
    zero(tensors["down.w"], 0, [7])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert result.dims("up.w") == [16, 28]
    assert result.dims("down.w") == [28, 16]
    assert result.groups["o.w"].reason == "it is the model's input 'x'"


def test_what_is_not_followed_stays_and_is_named() -> None:
    result = removed(nets.recurrent())
    assert result.dims("a.w") == [6, 8]
    assert result.dims("b.w") == [7, 6]
    assert result.groups["a.w"].reason == "LSTM 'lstm' is not followed"
    assert result.groups["a.w"].zeros == 4


def test_a_last_channel_stays() -> None:
    result = removed(nets.plain(), 1.0)
    assert result.dims("ac.w")[0] == 1
    assert result.dims("h.w")[0] == 1
    assert result.groups["b.w"].reason == "the last channel of a tensor stays"
