"""Values that no followed operator makes: inputs, constants, what something else reads."""

from collections.abc import Sequence

import onnx

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Scope, node_label
from onnxprune.structure.operators.numbers import numbered, objects
from onnxprune.structure.values import Axis, Number, Value

NAMED_INPUTS = 4
"""The first version of the format in which an initializer need not be an input."""


def overridable(model: OnnxModel) -> set[str]:
    """Return the initializers that callers are meant to override.

    Where all of them are inputs, the format or the exporter wants it so, and it means nothing.
    """
    graph = model.graph.model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = {value.name for value in graph.input} & initializers
    old = model.graph.model.ir_version < NAMED_INPUTS
    return set() if old or inputs == initializers else inputs


def counted(value: Value) -> list[Axis]:
    """Return the axes whose lengths a value holds."""
    if value.numbers is None:
        return []
    return [number.axis for number in value.numbers.ravel() if number.axis is not None]


def read_elsewhere(scope: Scope) -> dict[str, str]:
    """Return the values that something besides the main graph's nodes reads."""
    kept = {}
    for name, uses in scope.uses.items():
        for use in uses:
            if use.node is None and use.scope is scope:
                kept[name] = f"it reaches the model's output '{name}'"
            elif use.scope is not scope and use.scope.owner is not None:
                kept[name] = f"a subgraph of '{node_label(use.scope.owner)}' reads it"
    return kept


def listed(node: onnx.NodeProto, sizes: Sequence[int | None] | None) -> Value:
    """Return what is known of a Constant whose values are no tensor."""
    for each in node.attribute:
        if each.name == "value_int":
            return numbered(objects([Number(each.i)]).reshape(()))
        if each.name == "value_ints":
            return numbered(objects([Number(number) for number in each.ints]))
    return opaque(sizes, f"the constant '{node.output[0]}' is of another kind")


def opaque(sizes: Sequence[int | None] | None, why: str) -> Value:
    """Return a value whose positions are no channels."""
    if sizes is None:
        return Value(None, None, why)
    return Value(tuple(Axis(size, None, why) for size in sizes))
