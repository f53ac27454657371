"""Nodes in an order in which each comes behind those whose values it reads."""

from collections.abc import Sequence

import onnx


def in_order(nodes: Sequence[onnx.NodeProto]) -> list[int]:
    """Return the places of nodes so that each comes behind those whose values it reads."""
    makers = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    needs = [
        {makers[name] for name in names_read(node) if name in makers} - {at}
        for at, node in enumerate(nodes)
    ]
    order: list[int] = []
    done: set[int] = set()
    for start in range(len(nodes)):
        stack = [start]
        while stack:
            at = stack[-1]
            waiting = [] if at in done else sorted(needs[at] - done, reverse=True)
            needs[at] = set()  # a circle ends here
            stack += waiting
            if not waiting:
                stack.pop()
                order += [] if at in done else [at]
                done.add(at)
    return order


def names_read(node: onnx.NodeProto) -> list[str]:
    """Return the values that a node reads, its subgraphs' included."""
    names = list(node.input)
    for each in node.attribute:
        for graph in (each.g, *each.graphs):
            names += [name for inner in graph.node for name in names_read(inner)]
            names += [output.name for output in graph.output]
    return names
