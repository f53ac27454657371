"""Attributes that no operator can mean are refused by node and name, before a library sees them."""

from pathlib import Path
from typing import Any

import onnx
import pytest

from onnxprune.errors import InputError, LimitError
from onnxprune.formats.onnx_attributes import RANGES
from onnxprune.formats.onnx_file import load_onnx
from tests.models import function, graph, model, node, save, weight

IMAGE = {"x": ["N", 4, 8, 8]}
KERNEL = weight("k", 4, 4, 3, 3)


def convolution(**attributes: Any) -> onnx.ModelProto:
    return model([node("Conv x k -> y", "c", **attributes)], IMAGE, "y", [KERNEL])


def after(text: str, **attributes: Any) -> onnx.ModelProto:
    """Make a convolution and another operator behind it."""
    nodes = [node("Conv x k -> h", "c"), node(text, "n", **attributes)]
    return model(nodes, IMAGE, "y", [KERNEL])


WRONG = {
    "stride": (convolution(strides=[0, 1]), "Conv 'c': strides 0 is out of range (1 to "),
    "dilation": (convolution(dilations=[1, 0]), "Conv 'c': dilations 0 is out of range"),
    "kernel": (convolution(kernel_shape=[-3, 3]), "Conv 'c': kernel_shape -3 is out of"),
    "no group": (convolution(group=0), "Conv 'c': group 0 is out of range"),
    "fewer groups": (convolution(group=-4), "Conv 'c': group -4 is out of range"),
    "odd groups": (
        convolution(group=3),
        "Conv 'c': group 3 does not divide the 4 channels of its weight 'k'",
    ),
    "other kernel": (
        convolution(kernel_shape=[7, 7]),
        "Conv 'c': kernel_shape is [7, 7], its weight 'k' is [4, 4, 3, 3]",
    ),
    "kernel of less rank": (
        model(
            [node("Conv x k -> y", "c", kernel_shape=[3])],
            {"x": ["N", 4, 8]},
            "y",
            [weight("k", 4, 4)],
        ),
        "Conv 'c': kernel_shape is [3], its weight 'k' is [4, 4]",
    ),
    "pool": (
        after("AveragePool h -> y", kernel_shape=[2, 2], strides=[1, 0]),
        "AveragePool 'n': strides 0 is out of range",
    ),
    "no block": (after("DepthToSpace h -> y", blocksize=0), "DepthToSpace 'n': blocksize 0"),
    "huge block": (
        after("DepthToSpace h -> y", blocksize=1 << 32),
        "DepthToSpace 'n': blocksize 4,294,967,296 is out of range (1 to 2,147,483,647)",
    ),
    "no parts": (after("Split h -> y", num_outputs=0), "Split 'n': num_outputs 0 is out of"),
    "no state": (
        model(
            [node("LSTM x w r -> y", "l", hidden_size=0)],
            {"x": [1, 1, 4]},
            "y",
            [weight("w", 1, 8, 4), weight("r", 1, 8, 2)],
        ),
        "LSTM 'l': hidden_size 0 is out of range",
    ),
    "subgraph": (
        model(
            [
                node(
                    "If c -> y",
                    "i",
                    then_branch=graph([node("Conv x k -> t", group=0)], outputs="t"),
                    else_branch=graph([node("Identity x -> e")], outputs="e"),
                )
            ],
            {"c": [], **IMAGE},
            "y",
            [KERNEL],
        ),
        "Conv 'i.then_branch/t': group 0 is out of range",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_no_operator_can_mean_is_refused(case: str, tmp_path: Path) -> None:
    proto, message = WRONG[case]
    with pytest.raises(InputError) as refused:
        load_onnx(save(tmp_path / "m.onnx", proto))
    assert refused.value.message.startswith(message)


def test_a_border_that_would_fill_any_memory_is_over_a_limit(tmp_path: Path) -> None:
    with pytest.raises(LimitError) as refused:
        load_onnx(save(tmp_path / "m.onnx", convolution(pads=[0, 0, 1 << 40, 0])))
    told = "Conv 'c': pads 1,099,511,627,776 is over the limit (16,777,216)"
    assert refused.value.message == told


RIGHT = {
    "plain": convolution(),
    "all": convolution(
        strides=[1, 2], dilations=[2, 1], kernel_shape=[3, 3], group=1, pads=[1, 0, 1, 0]
    ),
    "pads below zero": convolution(pads=[-1, 0, 0, 0]),
    "a kernel that is no constant": model(
        [node("Mul k s -> m"), node("Conv x m -> y", kernel_shape=[7, 7])],
        IMAGE,
        "y",
        [KERNEL, weight("s", 1)],
    ),
    "another domain": model(
        [node("Conv x k -> h", domain="local", strides=[0]), node("Conv h k -> y")],
        IMAGE,
        "y",
        [KERNEL],
    ),
    "an attribute of a caller": model(
        [node("F x k -> y", domain="local", by=[2, 2])],
        IMAGE,
        "y",
        [KERNEL],
        [function("F", "a b -> c", [node("Conv a b -> c")], by=None)],
    ),
}
RIGHT["an attribute of a caller"].functions[0].node[0].attribute.add(
    name="strides", ref_attr_name="by", type=onnx.AttributeProto.INTS
)


@pytest.mark.parametrize("case", RIGHT)
def test_what_means_something_is_taken(case: str, tmp_path: Path) -> None:
    with load_onnx(save(tmp_path / "m.onnx", RIGHT[case])) as opened:
        assert [each.path for each in opened.weights] or case.startswith("a kernel")


@pytest.mark.parametrize("operator", RANGES)
def test_every_attribute_that_is_checked_is_one_of_the_operator(operator: str) -> None:
    if operator == "FusedConv":  # of another domain, with the attributes of Conv
        assert RANGES[operator] == RANGES["Conv"]
        return
    known = onnx.defs.get_schema(operator).attributes
    # One table serves all convolutions, and one all pools: some have more than others.
    assert RANGES[operator].keys() - {"output_padding", "dilations"} <= known.keys()
