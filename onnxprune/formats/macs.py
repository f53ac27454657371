"""Counts the multiply-accumulates of a weight per sample, where the shapes are known."""

import math
from collections.abc import Mapping
from dataclasses import replace

import onnx

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Scope
from onnxprune.formats.onnx_weights import Finding

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
    for scope, node in finding.places:
        positions = _positions(scope, node, finding, shapes)
        if positions is None:
            return None
        total += positions * size
    return total


def _positions(
    scope: Scope, node: onnx.NodeProto, finding: Finding, shapes: Shapes
) -> int | None:
    """Count how often a weight is applied per sample; the first dimension is the batch."""
    if scope.parent is not None or scope.prefix:
        return None
    made, read = shapes.get(node.output[0]), shapes.get(node.input[0])
    op = node.op_type
    if op == "ConvTranspose":
        return _product(read[2:]) if read else None
    if op.endswith("Conv") or op == "ConvInteger":
        return _product(made[2:]) if made else None
    if op in SINGLE:
        return 1
    if op in PRODUCTS:
        if made is None:
            return None
        if finding.layout is not None and len(finding.constant.record.dims) > 2:
            return _product(made[-2:-1])
        return _product(made[1:-1]) if len(made) > 2 else 1
    if op in RECURRENT:
        return _product(read[:1]) if read else None
    if op in ATTENTION:
        return _product(read[1:2]) if read else None
    return None


def _product(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None
