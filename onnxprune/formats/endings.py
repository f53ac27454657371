"""Finds the weights whose outputs are the model's own: no weight comes behind them."""

from collections import defaultdict

import onnx

from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Graph, Scope

ENDING = "its outputs are the model's"
LAST = "the last weight of a file of torch's, whose outputs may be the model's"
SIZES = ("Shape", "Size")
"""Operators that look at no value."""


def endings(model: Model) -> dict[str, str]:
    """Return the weights none of whose outputs may vanish, and why.

    An ONNX graph is walked backward from its outputs, through whatever has no weight. Of a file
    of torch's no graph is known here: its last weight is taken for such a one.
    """
    if not isinstance(model, OnnxModel):
        return {weight.path: LAST for weight in model.weights[-1:]}
    owners = defaultdict(list)
    for path, finding in model.findings.items():
        for place in finding.places:
            owners[_key(place.scope, place.node)].append(path)
    found: dict[str, str] = {}
    for key in _last_nodes(model.graph, set(owners)):
        found |= dict.fromkeys(owners[key], ENDING)
    return found


def _last_nodes(graph: Graph, ends: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Walk from the outputs backward, and return the nodes with weights that are met first."""
    inner: dict[int, list[Scope]] = defaultdict(list)
    for scope in graph.scopes:
        if scope.owner is not None:
            inner[id(scope.owner)].append(scope)
    waiting = [(graph.scopes[0], name) for name in graph.scopes[0].outputs]
    seen, met = set(), set()
    while waiting:
        scope, name = waiting.pop()
        home = scope.defining(name)
        if home is None or (id(home), name) in seen:
            continue
        seen.add((id(home), name))
        node = home.producers.get(name)
        if node is None:
            waiting += _outside(home, name)
        elif _key(home, node) in ends:
            met.add(_key(home, node))
        elif node.op_type not in SIZES:
            waiting += _behind(graph, inner, home, node)
    return met


Step = tuple[Scope, str]


def _behind(
    graph: Graph, inner: dict[int, list[Scope]], scope: Scope, node: onnx.NodeProto
) -> list[Step]:
    """Return what a node's results are made of."""
    body = graph.called(node)
    if body is not None:
        return [(body, name) for name in body.outputs]
    found = [(each, name) for each in inner[id(node)] for name in each.outputs]
    if node.op_type != "If":
        # A loop may run no time at all, and then gives what it was given.
        found += [(scope, name) for name in node.input if name]
    return found


def _outside(scope: Scope, name: str) -> list[Step]:
    """Return what an input of a function is at its calls."""
    if name not in scope.inputs:
        return []
    index = scope.inputs.index(name)
    return [
        (call.scope, call.node.input[index])
        for call in scope.callers
        if call.node is not None and index < len(call.node.input)
    ]


def _key(scope: Scope, node: onnx.NodeProto) -> tuple[int, str]:
    """Name a node by its first output: nodes of functions are copied where they are read."""
    return id(scope), next((name for name in node.output if name), "")
