"""What becomes of an axis behind a node: whether channels counted by it could ever go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from onnxprune.formats.onnx_graph import Scope
from onnxprune.formats.onnx_rules import any_attribute

DEPTH = 12

Place = tuple[int, int]
"""An axis, and how many axes there are."""


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """Looks at what reads a value.

    Args:
        scope: the graph.
        shapes: the shapes of its values, as far as they are known.
    """

    scope: Scope
    shapes: Mapping[str, Sequence[int | None]]

    def is_lost(self, name: str, axis: int, rank: int, depth: int = DEPTH) -> bool:
        """Whether an operator that reads a value needs one of its axes whole.

        Args:
            name: the value.
            axis: one of its axes.
            rank: how many it has.
            depth: how many nodes behind it are looked at.
        """
        for use in self.scope.uses.get(name, []) if depth else []:
            if use.node is None:
                return True
            if use.scope is not self.scope:
                continue
            if self._needs(use.node, use.index, (axis, rank)):
                return True
            after = self._after(use.node, use.index, (axis, rank))
            for made in use.node.output if after is not None else ():
                if made and after is not None and self.is_lost(made, *after, depth - 1):
                    return True
        return False

    def _needs(self, node: onnx.NodeProto, index: int, place: Place) -> bool:
        axis, rank = place
        match node.op_type:
            case "MatMul":
                return axis >= rank - 2
            case "InstanceNormalization":
                return axis >= 2
            case "Softmax" | "LayerNormalization":
                return int(any_attribute(node, "axis", -1)) % rank == axis
            case "Split" | "Concat":
                return int(any_attribute(node, "axis", 0)) % rank == axis
            case "Gather":
                return index == 0 and int(any_attribute(node, "axis", 0)) % rank == axis
        return False

    def _after(self, node: onnx.NodeProto, index: int, place: Place) -> Place | None:
        """Return where an axis is behind a node, or None where it is not looked for."""
        axis, rank = place
        match node.op_type:
            case "Reshape" | "Flatten":
                return self._last(node, place)
            case "Transpose":
                order = [int(each) for each in any_attribute(node, "perm", [])]
                return (order.index(axis) if axis in order else rank - 1 - axis), rank
            case "Squeeze":
                gone = sorted(each % rank for each in self._numbers(node))
                return (
                    (axis - sum(each < axis for each in gone), rank - len(gone))
                    if gone
                    else None
                )
            case "Unsqueeze":
                total = rank + len(self._numbers(node))
                new = {each % total for each in self._numbers(node)}
                return [at for at in range(total) if at not in new][axis], total
            case "Gather":
                return self._gathered(node, place) if index == 0 else None
            case "MatMul":
                return None
        return place

    def _gathered(self, node: onnx.NodeProto, place: Place) -> Place | None:
        axis, rank = place
        indices = self.scope.constants.get(node.input[1])
        if indices is None or indices.record.dims:
            return None
        taken = int(any_attribute(node, "axis", 0)) % rank
        return axis - (axis > taken), rank - 1

    def _last(self, node: onnx.NodeProto, place: Place) -> Place | None:
        """Follow a last axis that stays the last one."""
        axis, rank = place
        old = self.shapes.get(node.input[0])
        new = self.shapes.get(node.output[0])
        if axis != rank - 1 or not old or not new or old[-1] is None or old[-1] != new[-1]:
            return None
        return len(new) - 1, len(new)

    def _numbers(self, node: onnx.NodeProto) -> list[int]:
        """Return the axes that a node names."""
        given = any_attribute(node, "axes", None)
        if given is None and len(node.input) > 1:
            found = self.scope.constants.get(node.input[1])
            proto = None if found is None else found.proto
            if found is not None and proto is not None and found.record.external is None:
                given = numpy_helper.to_array(proto).ravel().tolist()
        return [int(each) for each in given or []]
