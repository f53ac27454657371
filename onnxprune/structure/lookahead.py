"""What becomes of an axis behind a node: whether channels counted by it could ever go."""

import onnx

from onnxprune.formats.onnx_graph import Scope
from onnxprune.structure.attributes import attribute

DEPTH = 12


def is_lost(scope: Scope, name: str, axis: int, rank: int, depth: int = DEPTH) -> bool:
    """Whether an operator that reads a value needs one of its axes whole.

    Args:
        scope: the graph.
        name: the value.
        axis: one of its axes.
        rank: how many it has.
        depth: how many nodes behind it are looked at.
    """
    if depth == 0:
        return False
    for use in scope.uses.get(name, []):
        if use.node is None:
            return True
        if use.scope is scope and _needs(scope, use.node, use.index, (axis, rank, depth)):
            return True
    return False


def _needs(
    scope: Scope, node: onnx.NodeProto, index: int, place: tuple[int, int, int]
) -> bool:
    axis, rank, depth = place
    match node.op_type:
        case "Reshape" | "Flatten":
            return False
        case "MatMul":
            return axis >= rank - 2
        case "InstanceNormalization":
            return axis >= 2
        case "Softmax" | "LayerNormalization" | "Split" | "Concat":
            default = 0 if node.op_type in ("Split", "Concat") else -1
            if int(attribute(node, "axis", default)) % rank == axis:
                return True
        case "Gather" if index == 0:
            return _gathered(scope, node, place)
        case "Transpose":
            order = [int(each) for each in attribute(node, "perm", [])]
            axis = order.index(axis) if axis in order else rank - 1 - axis
        case "Squeeze" | "Unsqueeze":
            return False
    return any(is_lost(scope, made, axis, rank, depth - 1) for made in node.output if made)


def _gathered(scope: Scope, node: onnx.NodeProto, place: tuple[int, int, int]) -> bool:
    axis, rank, depth = place
    taken = int(attribute(node, "axis", 0)) % rank
    if taken == axis:
        return True
    indices = scope.constants.get(node.input[1])
    if indices is None or indices.record.dims:
        return False
    after = axis - (axis > taken)
    return is_lost(scope, node.output[0], after, rank - 1, depth - 1)
