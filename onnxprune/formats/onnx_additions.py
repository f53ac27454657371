"""Biases that a model does not have, made without writing anything of it anew.

A new constant comes last in the graph, and its node is told of it. A product has no place for a
bias: what it gives gets another name, and a sum right behind it makes what it gave before.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import helper

from onnxprune.errors import OutputError, UnsupportedError
from onnxprune.formats.files import SourceFile
from onnxprune.formats.onnx_biases import Layer, layer_of, surroundings
from onnxprune.formats.onnx_data import encode_floats
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Graph
from onnxprune.formats.onnx_types import NAMES
from onnxprune.formats.splice import Splice
from onnxprune.formats.wire import Frame, Reader, encode_field, parts_of
from onnxprune.types import Array

GRAPH = 7
NODE, INITIALIZER, INPUT = 1, 5, 11
NODE_INPUT, NODE_OUTPUT = 1, 2
DECLARED = 4
"""The first IR version whose constants need not be inputs of the graph, too."""

LONG = 512
"""New names keep so much of the old ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A bias that is made.

    Args:
        path: of the weight; `name`: of the new constant.
        name: see above.
        data: its values as they are stored.
    """

    path: str
    name: str
    data: bytes


@dataclass(slots=True, eq=False)
class _Node:
    """Where a node lies in the file, and the names that it has for its inputs and outputs."""

    frame: Frame
    inputs: list[Frame] = field(default_factory=list)
    outputs: list[Frame] = field(default_factory=list)


def make_biases(
    model: OnnxModel, additions: Mapping[str, Array]
) -> tuple[list[Made], list[Splice]]:
    """Return new biases, and the edits that put them into the model's file.

    Args:
        model: the open model.
        additions: a value for each output, by the weight whose outputs they are added to.
    """
    layers = {path: _creatable(model, path) for path in additions}
    positions = {layer.position for layer in layers.values()}
    graph, nodes = _find_nodes(model.source, positions)
    taken = _names(model.graph)
    made: list[Made] = []
    inner: list[Splice] = []
    behind: list[Splice] = []
    constants = b""
    for path, layer in layers.items():
        values = additions[path]
        if values.shape != (layer.channels,):
            raise OutputError(
                f"'{path}': {values.size:,} values for a bias of {layer.channels:,}"
            )
        name = _unique(f"{model.graph.by_path[path].name[:LONG]}_bias", taken)
        data = encode_floats(NAMES[layer.data_type], values, name).tobytes()
        made.append(Made(path, name, data))
        constants += _constant(model, name, layer, data)
        node = nodes[layer.position]
        if layer.node.op_type != "MatMul":
            inner.append(_named_input(node, name))
            continue
        old = layer.node.output[0]
        new = _unique(f"{old[:LONG]}_unbiased", taken)
        frame = node.outputs[0]
        inner.append(Splice(frame.start, frame.end, new.encode(), frame))
        label = _unique(f"{name}_add", taken)
        added = helper.make_node("Add", [new, name], [old], label, domain=layer.node.domain)
        content = encode_field(NODE, added.SerializeToString())
        behind.append(Splice(node.frame.end, node.frame.end, content, graph))
    # Where a node ends and with it the graph, what belongs to the node comes first.
    return made, [*inner, *behind, Splice(graph.end, graph.end, constants, graph)]


def _creatable(model: OnnxModel, path: str) -> Layer:
    layer, found = layer_of(model, path), surroundings(model, path)
    if layer is None or found is None or not found.creatable:
        raise UnsupportedError(f"'{path}' cannot be given a bias")
    return layer


def _named_input(node: _Node, name: str) -> Splice:
    """Give a node its third input, which may be there without a name."""
    if len(node.inputs) > 2:
        frame = node.inputs[2]
        return Splice(frame.start, frame.end, name.encode(), frame)
    content = encode_field(NODE_INPUT, name.encode())
    return Splice(node.frame.end, node.frame.end, content, node.frame)


def _constant(model: OnnxModel, name: str, layer: Layer, data: bytes) -> bytes:
    """Write a constant of the graph, and declare it where that is needed."""
    kind, dims = layer.data_type, [layer.channels]
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=dims, raw_data=data)
    written = encode_field(INITIALIZER, tensor.SerializeToString())
    if model.graph.model.ir_version < DECLARED:
        value = helper.make_tensor_value_info(name, kind, dims)
        written += encode_field(INPUT, value.SerializeToString())
    return written


def _names(graph: Graph) -> set[str]:
    """Return the names of all values and nodes."""
    names: set[str] = set()
    for scope in graph.scopes:
        names.update(scope.uses)
        names.update(node.name for node in scope.nodes)
        names.update(value.name for value in scope.body.value_info)
    return names


def _unique(name: str, taken: set[str]) -> str:
    """Return a name that nothing has yet, and take it."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


def _find_nodes(source: SourceFile, wanted: Collection[int]) -> tuple[Frame, dict[int, _Node]]:
    """Return where the main graph and some of its nodes lie."""
    reader = Reader(source.descriptor, source.size)
    whole = Frame(None, 0, 0, reader.size)
    graph = next(frame for number, frame in _frames(reader, whole) if number == GRAPH)
    nodes: dict[int, _Node] = {}
    position = -1
    for number, frame in _frames(reader, graph):
        if number != NODE:
            continue
        position += 1
        if position in wanted:
            nodes[position] = node = _Node(frame)
            for part, name in _frames(reader, frame):
                if part == NODE_INPUT:
                    node.inputs.append(name)
                elif part == NODE_OUTPUT:
                    node.outputs.append(name)
    return graph, nodes


def _frames(reader: Reader, parent: Frame) -> Iterator[tuple[int, Frame]]:
    """Yield the parts of a message that have a length."""
    for part in parts_of(reader, parent):
        if part.frame is not None:
            yield part.number, part.frame
