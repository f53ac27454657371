"""Counts the multiply-accumulates of a weight per sample, where the shapes are known."""

import math
from collections.abc import Mapping
from dataclasses import replace

import onnx

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_rules import attribute
from onnxprune.formats.onnx_weights import Finding, Place

Shapes = Mapping[str, list[int | None]]
RECURRENT = {"LSTM", "GRU", "RNN"}
PRODUCTS = {
    "MatMul",
    "MatMulInteger",
    "QLinearMatMul",
    "FusedMatMul",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
}
SINGLE = {"Gemm", "QGemm", "FusedGemm", "GemmFastGelu"}
LOOKUPS = {"Gather", "EmbedLayerNormalization"}
ATTENTION = {"Attention", "QAttention", "LongformerAttention"}


def count_macs(model: OnnxModel, shapes: Shapes) -> None:
    """Set the multiply-accumulates of every weight whose operators' shapes are known."""
    declared = declared_shapes(model.graph.model)
    known = {**declared, **{name: shape for name, shape in shapes.items() if shape}}
    model.weights = [
        replace(weight, macs=_weight_macs(model.findings[weight.path], weight.size, known))
        for weight in model.weights
    ]


def declared_shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    """Return the shapes that a file itself gives for the values of its main graph."""
    shapes: dict[str, list[int | None]] = {}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        if value.type.tensor_type.HasField("shape"):
            shapes[value.name] = [
                dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
                for dim in value.type.tensor_type.shape.dim
            ]
    return shapes


def _weight_macs(finding: Finding, size: int, shapes: Shapes) -> int | None:
    total = 0
    for place in finding.places:
        positions = _positions(place, shapes)
        if positions is None:
            return None
        total += positions * size
    return total


def _positions(place: Place, shapes: Shapes) -> int | None:
    """Count how often a weight is applied per sample; the first dimension is the batch."""
    node = place.node
    op = node.op_type
    if op in LOOKUPS:
        return 0
    if place.scope.prefix or place.shape is None or not node.output:
        return None
    made, read = shapes.get(node.output[0]), shapes.get(node.input[0])
    if op == "ConvTranspose":
        return _product(read[2:]) if read else None
    if op.endswith("Conv") or op == "ConvInteger":
        return _product(made[2:]) if made else None
    if op in SINGLE and place.index > 0:
        return 1
    if attribute(node, "transBatchA", 0) or attribute(node, "transBatchB", 0):
        return None
    if op in PRODUCTS | SINGLE:
        return _product(_rows(place, place.shape, made)) if made is not None else None
    if op in RECURRENT:
        steps = 1 if attribute(node, "layout", 0) else 0
        return _product(read[steps : steps + 1]) if read else None
    if op in ATTENTION:
        return _product(read[1:2]) if read else None
    return None


def _rows(place: Place, shape: tuple[int, ...], made: list[int | None]) -> list[int | None]:
    """Return the sizes of a matrix product's result that are not the weight's own.

    The first is left out as the batch, unless the weight has it or it counts columns.
    """
    rank = len(shape)
    left = place.index == 0
    own = {len(made) - rank + axis for axis, size in enumerate(shape[:-2]) if size > 1}
    if rank > 1:
        own.add(len(made) - (2 if left and len(made) >= rank else 1))
    if not left or len(made) > 1:
        own.add(0)
    return [size for axis, size in enumerate(made) if axis not in own]


def _product(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None
