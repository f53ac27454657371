"""What stands behind a weight: what is added to its outputs, and what normalises them."""

from dataclasses import dataclass

import onnx

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import MOVING, Constant, Scope
from onnxprune.formats.onnx_rules import attribute
from onnxprune.formats.onnx_types import FLOATS, NAMES, STORAGE, type_name
from onnxprune.formats.onnx_weights import Finding, Place

HELD = FLOATS & STORAGE.keys()
"""Types whose values can be read and written."""

DEFAULT = ("", "ai.onnx")
CONVOLUTIONS = ("Conv", "ConvTranspose")
OPERATORS = (*CONVOLUTIONS, "Gemm", "MatMul")
BROADCASTING = 7
"""The first opset whose Add and BatchNormalization are as they are now."""


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """A BatchNormalization that takes a layer's outputs, and nothing else does.

    Args:
        scale: the path of the constant; so with `bias`, `mean` and `variance`.
        bias: see above.
        mean: see above.
        variance: see above.
        epsilon: what is added to the variance.
    """

    scale: str
    bias: str
    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What is added to a weight's outputs, and what normalises them.

    Args:
        bias: the path of a constant of one value for each output, used nowhere else.
        normalisation: what comes behind that.
        creatable: whether there is no bias, and one can be made.
        scale: what the bias is multiplied with before it is added.
    """

    bias: str | None
    normalisation: Normalisation | None
    creatable: bool
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The one node that a weight belongs to, whose outputs are its channels in order.

    Args:
        scope: the main graph.
        node: the node; `position`: its place among the graph's nodes.
        position: see above.
        channels: how many outputs there are.
        dimensions: of what it gives, behind the one that counts the outputs.
        data_type: of its values, as ONNX numbers types; 0 where it is not known.
    """

    scope: Scope
    node: onnx.NodeProto
    position: int
    channels: int
    dimensions: int
    data_type: int

    def bias_input(self) -> str:
        """Return the name of what the node itself adds."""
        own = self.node.op_type != "MatMul" and len(self.node.input) > 2
        return str(self.node.input[2]) if own else ""


def surroundings(model: OnnxModel, path: str) -> Surroundings | None:
    """Return what stands behind a weight, or None where its outputs do not lie along one axis.

    So it is, too, with weights that are used more than once, or not in the main graph.
    """
    layer = layer_of(model, path)
    if layer is None:
        return None
    output = layer.node.output[0]
    beta = float(attribute(layer.node, "beta", 1.0)) if layer.node.op_type == "Gemm" else 1.0
    name = layer.bias_input()
    if name:
        own = _own(layer.scope, name)
        fits = own is not None and beta != 0 and _is_vector(layer, own)
        bias = own.path if own is not None and fits else None
        return Surroundings(bias, _normalisation(model, layer, output), False, beta)
    added, behind = _added(model, layer, output)
    if added is not None:
        # A bias of more dimensions than the outputs gives them more.
        plain = len(added.record.dims) <= layer.dimensions + 2
        norm = _normalisation(model, layer, behind) if plain else None
        return Surroundings(added.path, norm, False, 1.0)
    creatable = beta != 0 and layer.data_type != 0
    if layer.node.op_type == "MatMul":
        creatable &= behind == output and opset_of(model) >= BROADCASTING
    return Surroundings(None, _normalisation(model, layer, output), creatable, beta)


def layer_of(model: OnnxModel, path: str) -> Layer | None:
    """Return the node that a weight belongs to, if there is one and its outputs are plain."""
    finding = model.findings.get(path)
    if finding is None or finding.reasons or len(finding.places) != 1:
        return None
    (place,) = finding.places
    node, scope, shape = place.node, place.scope, place.shape
    inner = scope.parent is not None or bool(scope.prefix)
    if inner or finding.constant.scope is not scope or place.index != 1 or shape is None:
        return None
    if node.op_type not in OPERATORS or node.domain not in DEFAULT or not node.output:
        return None
    channels = _channels(place, shape)
    # A factor of more dimensions has a matrix for each batch.
    flat = len(shape) == 2 or node.op_type in CONVOLUTIONS
    if not flat or finding.layout is None or finding.layout.output_count != channels:
        return None
    dimensions = len(shape) - 2
    return Layer(scope, node, finding.order[0], channels, dimensions, _data_type(finding))


def opset_of(model: OnnxModel) -> int:
    """Return the version of the standard operators."""
    imports = model.graph.model.opset_import
    return max((entry.version for entry in imports if entry.domain in DEFAULT), default=0)


def _channels(place: Place, shape: tuple[int, ...]) -> int:
    node = place.node
    if node.op_type == "Conv":
        return shape[0]
    if node.op_type == "ConvTranspose":
        return shape[1] * int(attribute(node, "group", 1))
    return shape[0] if attribute(node, "transB", 0) else shape[1]


def _data_type(finding: Finding) -> int:
    """Return the type of what a node computes with, unless the weight is stored as integers."""
    (place,) = finding.places
    scope, name = place.scope, place.node.input[place.index]
    if type_name(finding.constant.record) not in HELD:
        return 0
    while name not in scope.constants:
        node = scope.producers.get(name)
        if node is None or node.op_type not in MOVING or "Linear" in node.op_type:
            return 0
        if node.op_type == "Cast":
            found = int(attribute(node, "to", 0))
            return found if 0 < found < len(NAMES) and NAMES[found] in HELD else 0
        name = node.input[0]
    return scope.constants[name].record.data_type


def _own(scope: Scope, name: str) -> Constant | None:
    """Return a constant of floats that is read at one place only."""
    constant = scope.constants.get(name)
    if constant is None or len(scope.uses[name]) != 1:
        return None
    return constant if type_name(constant.record) in HELD else None


def _is_vector(layer: Layer, constant: Constant) -> bool:
    """Whether a node's own bias has one value for each output."""
    *ones, last = constant.record.dims or [0]
    return last == layer.channels and (not ones or (ones == [1] and layer.dimensions == 0))


def _added(model: OnnxModel, layer: Layer, output: str) -> tuple[Constant | None, str]:
    """Return what an Add behind a node adds to each output, and what comes of that.

    The name is another one where a constant is added that is no bias of this node's alone.
    """
    node = _reader(layer.scope, output, "Add")
    if node is None or opset_of(model) < BROADCASTING or len(node.input) != 2:
        return None, output
    other = node.input[1] if node.input[0] == output else node.input[0]
    constant = _own(layer.scope, other)
    if constant is not None and _adds_per_output(layer, constant.record.dims):
        return constant, node.output[0]
    return None, node.output[0] if layer.scope.is_fixed(other) else output


def _adds_per_output(layer: Layer, dims: list[int]) -> bool:
    """Whether a constant of some shape has one value for each output."""
    behind = layer.dimensions
    if len(dims) <= behind:
        return False
    place = len(dims) - 1 - behind
    rank = None if layer.node.op_type == "MatMul" else behind + 2
    shape = [1] * len(dims)
    shape[place] = layer.channels
    return dims == shape and (rank is None or len(dims) <= rank)


def _reader(scope: Scope, name: str, op: str) -> onnx.NodeProto | None:
    """Return the node that alone reads a value, if it is such an operator of the graph."""
    uses = scope.uses.get(name, [])
    if len(uses) != 1 or uses[0].scope is not scope:
        return None
    node = uses[0].node
    found = node is not None and node.op_type == op and node.domain in DEFAULT
    return node if found else None


def _normalisation(model: OnnxModel, layer: Layer, output: str) -> Normalisation | None:
    node = _reader(layer.scope, output, "BatchNormalization")
    if node is None or len(node.input) != 5 or node.input[0] != output:
        return None
    training = attribute(node, "training_mode", 0) or any(node.output[1:])
    if training or opset_of(model) < BROADCASTING:
        return None
    found = [_own(layer.scope, name) for name in node.input[1:]]
    own = [each for each in found if each is not None]
    if len(own) < 4 or any(each.record.dims != [layer.channels] for each in own):
        return None
    if layer.node.op_type == "MatMul" and not _is_flat(model, layer):
        return None
    scale, bias, mean, variance = (each.path for each in own)
    epsilon = float(attribute(node, "epsilon", 1e-5))
    return Normalisation(scale, bias, mean, variance, epsilon)


def _is_flat(model: OnnxModel, layer: Layer) -> bool:
    """Whether the outputs of a product are known to be the second dimension of two."""
    graph = model.graph.model.graph
    names = {layer.node.input[0], layer.node.output[0]}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.name in names and value.type.tensor_type.HasField("shape"):
            return len(value.type.tensor_type.shape.dim) == 2
    return False
