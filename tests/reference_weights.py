"""Tensors of an ONNX file, read with the onnx package alone: the other half of the oracle.

Covers the initializers and the Constant nodes of the main graph; bodies of control flow and
model-local functions are left out.
"""

from os import PathLike

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Floats = NDArray[np.float64]
# Positions among the node's inputs (weight, scale, zero point) and the channel axis.
Slot = tuple[int, int | None, int, int]


def onnx_values(path: str | PathLike[str]) -> dict[str, Floats]:
    """Read every numeric tensor of the main graph by its name, as float64."""
    tensors = _tensors(onnx.load(path))
    return {
        name: array.astype(np.float64)
        for name, array in tensors.items()
        if array.dtype.kind not in "OSUc"
    }


def quantized_magnitudes(path: str | PathLike[str]) -> dict[str, Floats]:
    """Compute |q - zero point| * scale of every constant int8 or uint8 weight.

    A weight that several nodes use counts as the first of them reads it. One whose scale or
    zero point is computed in the graph is left out.
    """
    model = onnx.load(path)
    tensors = _tensors(model)
    magnitudes: dict[str, Floats] = {}
    for node in model.graph.node:
        for weight, scale, zero_point, axis in _slots(node):
            name = _input(node, weight)
            parts = [_input(node, i) for i in (scale, zero_point) if i is not None]
            known = all(part in tensors for part in parts if part)
            if name not in tensors or name in magnitudes or not known:
                continue
            if tensors[name].dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
                continue
            codes = tensors[name].astype(np.float64)
            block = int(_attribute(node, "block_size", 0))
            factor = _spread(tensors, _input(node, scale), 1.0, codes, axis, block)
            centre = _spread(tensors, _input(node, zero_point), 0.0, codes, axis, block)
            magnitudes[name] = np.abs(codes - centre) * factor
    return magnitudes


def _tensors(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Constant":
            continue
        for attribute in node.attribute:
            if attribute.name == "value":
                tensors[node.output[0]] = numpy_helper.to_array(attribute.t)
            elif attribute.name == "value_floats":
                tensors[node.output[0]] = np.array(attribute.floats, dtype=np.float32)
    return tensors


def _slots(node: onnx.NodeProto) -> list[Slot]:
    """List where the node holds weights, with the axis of their channels."""
    match node.op_type:
        case "DequantizeLinear":
            return [(0, 1, 2, int(_attribute(node, "axis", 1)))]
        case "QLinearConv":
            return [(3, 4, 5, 0)]
        case "QLinearMatMul":
            return [(0, 1, 2, -2), (3, 4, 5, -1)]
        case "QGemm":
            return [(3, 4, 5, 0 if _attribute(node, "transB", 0) else -1)]
        case "ConvInteger":
            return [(1, None, 3, 0)]
        case "MatMulInteger":
            return [(0, None, 2, -2), (1, None, 3, -1)]
        case _:
            return []


def _input(node: onnx.NodeProto, position: int | None) -> str:
    """Name the input at that position; empty where the node has none."""
    if position is None or position >= len(node.input):
        return ""
    return str(node.input[position])


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _spread(
    tensors: dict[str, NDArray[np.generic]],
    name: str,
    default: float,
    codes: Floats,
    axis: int,
    block: int,
) -> Floats:
    """Shape a scale or zero point so that it broadcasts against the weight."""
    if not name:
        return np.array(default)
    values = tensors[name].astype(np.float64)
    if values.size == 1:
        return values.reshape(())
    if block:
        repeated = np.repeat(values, block, axis=axis)
        return np.take(repeated, range(codes.shape[axis]), axis=axis)
    if values.ndim == 1:
        shape = [1] * codes.ndim
        shape[axis] = values.size
        return values.reshape(shape)
    return values
