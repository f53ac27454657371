"""Refuses attributes that no operator can mean: libraries divide by them, or take all memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from onnxprune.errors import InputError, LimitError
from onnxprune.formats.onnx_graph import Graph, Scope, node_label
from onnxprune.formats.onnx_rules import MICROSOFT

DOMAINS = ("", "ai.onnx", MICROSOFT)
KERNELS = {
    "Conv": 1,
    "ConvTranspose": 1,
    "ConvInteger": 1,
    "DeformConv": 1,
    "FusedConv": 1,
    "QLinearConv": 3,
}
"""Operators with a kernel, and which of their inputs it is."""

POOLS = ("AveragePool", "LpPool", "MaxPool", "MaxUnpool")
RECURRENT = ("GRU", "LSTM", "RNN")
BLOCKS = ("DepthToSpace", "SpaceToDepth")


@dataclass(frozen=True, slots=True)
class Range:
    """What the numbers of an attribute may be.

    Args:
        least: what every operator needs.
        most: what fits where libraries keep it.
        limit: beyond it an output would fill any memory; None where only `most` counts.
    """

    least: int = 1
    most: int = (1 << 31) - 1
    limit: int | None = None


COUNT = Range()
PADDING = Range(least=-(1 << 31), limit=1 << 24)
WINDOW = {"strides": COUNT, "dilations": COUNT, "kernel_shape": COUNT, "pads": PADDING}
RANGES: dict[str, dict[str, Range]] = {
    **{name: WINDOW | {"group": COUNT, "output_padding": PADDING} for name in KERNELS},
    **dict.fromkeys(POOLS, WINDOW),
    **{name: {"hidden_size": COUNT} for name in RECURRENT},
    **{name: {"blocksize": COUNT} for name in BLOCKS},
    "DeformConv": WINDOW | {"group": COUNT, "offset_group": COUNT},
    "Split": {"num_outputs": COUNT},
}
"""For each operator its attributes that count something."""


def check_attributes(graph: Graph) -> None:
    """Refuse nodes whose attributes are out of range, or contradict their kernel."""
    for scope in graph.scopes:
        for node in scope.nodes:
            ranges = RANGES.get(node.op_type)
            if ranges is not None and node.domain in DOMAINS:
                _check_node(scope, node, ranges)


def _check_node(scope: Scope, node: onnx.NodeProto, ranges: dict[str, Range]) -> None:
    label = f"{node.op_type} '{scope.prefix}{node_label(node)}'"
    for attribute in node.attribute:
        numbers = _numbers(attribute)
        if attribute.name in ranges and numbers:
            _check_range(f"{label}: {attribute.name}", numbers, ranges[attribute.name])
    if node.op_type in KERNELS:
        _check_kernel(scope, node, label)


def _numbers(attribute: onnx.AttributeProto) -> Sequence[int]:
    """Return the numbers that an attribute holds; none if its type is another."""
    if attribute.ref_attr_name:
        return ()
    if attribute.type == onnx.AttributeProto.INT:
        return (attribute.i,)
    return tuple(attribute.ints) if attribute.type == onnx.AttributeProto.INTS else ()


def _check_range(what: str, numbers: Sequence[int], allowed: Range) -> None:
    for number in numbers:
        if allowed.limit is not None and number > allowed.limit:
            raise LimitError(f"{what} {number:,} is over the limit ({allowed.limit:,})")
        if not allowed.least <= number <= allowed.most:
            possible = f"{allowed.least:,} to {allowed.most:,}"
            raise InputError(f"{what} {number:,} is out of range ({possible})")


def _check_kernel(scope: Scope, node: onnx.NodeProto, label: str) -> None:
    """Compare what the node says of its kernel with the kernel, where that is a constant."""
    index = KERNELS[node.op_type]
    constant = scope.constant(node.input[index]) if len(node.input) > index else None
    if constant is None:
        return
    dims = list(constant.record.dims)
    told = {attribute.name: _numbers(attribute) for attribute in node.attribute}
    shape = list(told.get("kernel_shape", ()))
    if shape and shape != dims[2:]:
        raise InputError(
            f"{label}: kernel_shape is {shape}, its weight '{constant.path}' is {dims}"
        )
    group = next(iter(told.get("group", ())), 1)
    if dims and dims[0] % group:
        raise InputError(
            f"{label}: group {group} does not divide the {dims[0]} channels of its weight"
            f" '{constant.path}'"
        )
