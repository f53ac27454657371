"""What is compiled: the nodes of a graph, a subgraph or a function, wherever they come from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import onnx

from onnxprune.errors import InputError
from onnxprune.formats.onnx_graph import Address, Constant, Scope, node_label

GRAPH = onnx.AttributeProto.GRAPH


@dataclass(slots=True, eq=False)
class Body:
    """Nodes with the names they share.

    Args:
        prefix: what is written before the names of its nodes.
        inputs: the names of its inputs; `outputs`: those of its outputs.
        nodes: with the position each has in the file.
        scope: the same in the model; None where an operator's definition gives the nodes.
        address: where the model has it.
        node_field: the number of the field that holds its nodes.
        tensors: the constants of a body that the model does not have.
        declared: what the body says of its outputs.
    """

    prefix: str
    inputs: list[str]
    outputs: list[str]
    nodes: list[tuple[int, onnx.NodeProto]]
    scope: Scope | None = None
    address: Address = ()
    node_field: int = 1
    tensors: dict[str, onnx.TensorProto] = field(default_factory=dict)
    declared: list[onnx.ValueInfoProto] = field(default_factory=list)

    @property
    def constants(self) -> dict[str, Constant]:
        """The constants that the model has here."""
        return {} if self.scope is None else self.scope.constants

    def label(self, node: onnx.NodeProto) -> str:
        """Return the name of a node."""
        return self.prefix + node_label(node)

    def place(self, position: int, attribute: int) -> Address | None:
        """Return where an attribute of a node is in the model, if it is there."""
        if self.scope is None:
            return None
        return (*self.address, self.node_field, position, 5, attribute)


def body_of_scope(scope: Scope, address: Address, node_field: int = 1) -> Body:
    """Make a body from a scope of the model."""
    proto = scope.body
    return Body(
        scope.prefix,
        scope.inputs,
        scope.outputs,
        _ordered(scope.nodes, scope.prefix),
        scope,
        address,
        node_field,
        declared=list(proto.output) if isinstance(proto, onnx.GraphProto) else [],
    )


def body_of_graph(graph: onnx.GraphProto, prefix: str) -> Body:
    """Make a body from a subgraph that the model does not have."""
    return Body(
        prefix,
        [value.name for value in graph.input],
        [value.name for value in graph.output],
        _ordered(list(graph.node), prefix),
        tensors={tensor.name: tensor for tensor in graph.initializer},
        declared=list(graph.output),
    )


def body_of_function(function: onnx.FunctionProto, prefix: str) -> Body:
    """Make a body from an operator's definition."""
    nodes = _ordered(list(function.node), prefix)
    return Body(prefix, list(function.input), list(function.output), nodes)


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[int, onnx.AttributeProto]]:
    """Go through the attributes of a node that are graphs, with their positions."""
    for index, attribute in enumerate(node.attribute):
        if attribute.HasField("g"):
            yield index, attribute


def free_names(node: onnx.NodeProto) -> set[str]:
    """Return the names that a node reads, those that its subgraphs take from outside included."""
    names = {name for name in node.input if name}
    for _, attribute in subgraphs(node):
        graph = attribute.g
        own = {value.name for value in graph.input}
        own |= {tensor.name for tensor in graph.initializer}
        own |= {tensor.values.name for tensor in graph.sparse_initializer}
        read = {value.name for value in graph.output}
        for inner in graph.node:
            read |= free_names(inner)
            own.update(inner.output)
        names |= read - own
    return names


def _ordered(nodes: Sequence[Any], prefix: str) -> list[tuple[int, onnx.NodeProto]]:
    """Sort nodes so that each comes behind those that it reads from, if they are not so."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = {
        index: {makers[name] for name in free_names(node) if name in makers}
        for index, node in enumerate(nodes)
    }
    if all(other < index for index, others in needs.items() for other in others):
        return list(enumerate(nodes))
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        node = nodes[error.args[1][0]]
        raise InputError(f"node '{prefix}{node_label(node)}' needs its own result") from error
    return [(index, nodes[index]) for index in order]
