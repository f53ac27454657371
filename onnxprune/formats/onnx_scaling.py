"""Finds the scale and zero point of quantised weights, and how they spread over values."""

import math
from dataclasses import dataclass

import onnx

from onnxprune.formats.onnx_graph import Constant, Scope
from onnxprune.formats.onnx_rules import QUANTIZED, attribute
from onnxprune.formats.onnx_types import STORAGE, element_count, type_name
from onnxprune.formats.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """The constants that give quantised values their meaning, and how they spread."""

    scale: Constant | None
    zero: Constant | None
    channels: int = 1
    inner: int = 1
    block: int = 1


def dequantization(node: onnx.NodeProto, scope: Scope, view: View) -> Scaling | None:
    """Return what a DequantizeLinear node does, if its parameters are constants."""
    scale = scope.constant(node.input[1]) if len(node.input) > 1 else None
    named_zero = node.input[2] if len(node.input) > 2 else ""
    zero = scope.constant(named_zero) if named_zero else None
    if scale is None or (named_zero and zero is None):
        return None
    axis = attribute(node, "axis", 1)
    block = attribute(node, "block_size", 0)
    return _spread(scale, zero, view, axis, block)


def _spread(
    scale: Constant | None, zero: Constant | None, view: View, axis: int, block: int = 0
) -> Scaling | None:
    """Say which scale belongs to which stored value."""
    given = [constant.record for constant in (scale, zero) if constant is not None]
    if any(type_name(record) not in STORAGE for record in given):
        return None
    counts = {element_count(record) for record in given}
    if counts <= {1}:
        return Scaling(scale, zero)
    rank = len(view.groups)
    if not -rank <= axis < rank:
        return None
    group = view.groups[axis % rank]
    if not group or list(group) != list(range(group[0], group[-1] + 1)):
        return None
    channels = view.shape[axis % rank]
    inner = math.prod(view.factors[group[-1] + 1 :])
    expected = channels
    if block > 1:
        # Blocks are counted in the order that DequantizeLinear sees, values in the file's.
        order = [factor for group in view.groups for factor in group]
        if order != sorted(order):
            return None
        expected = math.prod(view.factors) // max(channels, 1) * -(-channels // block)
    if not counts <= {1, expected}:
        return None
    if channels == 1:  # blocks of one value: each has its own scale
        return Scaling(scale, zero, expected)
    return Scaling(scale, zero, channels, inner, max(block, 1))


def operator_scaling(
    node: onnx.NodeProto, index: int, key: tuple[str, str], scope: Scope, view: View
) -> Scaling | None:
    """Return the parameters that a quantised operator takes for one of its weights."""
    scale_at, zero_at, front = QUANTIZED[key][index]
    found: list[Constant | None] = []
    for place in (scale_at, zero_at):
        name = node.input[place] if place is not None and place < len(node.input) else ""
        constant = scope.constant(name) if name else None
        if name and constant is None:
            return None
        found.append(constant)
    scale = found[0]
    if scale_at is None:
        scale = _dynamic_scale(scope, node)
    axis = 0 if front or attribute(node, "transB", 0) else -1
    if index == 0:
        axis = -2  # a left factor has its outputs in rows
    return _spread(scale, found[1], view, axis)


def _dynamic_scale(scope: Scope, node: onnx.NodeProto) -> Constant | None:
    """Find the weight's scale where a product of integers is scaled behind its operator."""
    name = node.output[0] if node.output else ""
    for _ in range(3):
        users = [use.node for use in scope.uses.get(name, []) if use.node is not None]
        if len(users) != 1:
            return None
        user = users[0]
        if user.op_type == "Cast":
            name = user.output[0] if user.output else ""
            continue
        if user.op_type != "Mul":
            return None
        other = next((value for value in user.input if value != name), "")
        if scope.constant(other) is not None:
            return scope.constant(other)
        product = scope.producers.get(other)
        if product is not None and product.op_type == "Mul":
            for value in product.input:
                constant = scope.constant(value)
                if constant is not None:
                    return constant
        return None
    return None
