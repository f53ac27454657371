"""Which inputs of which operators are weights, and how each operator reads them."""

from collections.abc import Callable
from typing import Any

import onnx

Axes = tuple[list[int], list[int]]
"""The dimensions that count outputs, and those that count input channels."""

Rule = Callable[[onnx.NodeProto, int, int], Axes | None]
"""(node, index of the input, rank of the weight) -> its axes, or None if it cannot be one."""

MICROSOFT = "com.microsoft"


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return the value of a node's attribute."""
    for found in node.attribute:
        if found.name == name:
            return onnx.helper.get_attribute_value(found)
    return default


def _convolution(node: onnx.NodeProto, index: int, rank: int) -> Axes | None:
    return ([0], [1]) if rank >= 2 else None


def _transposed_convolution(node: onnx.NodeProto, index: int, rank: int) -> Axes | None:
    return ([1], [0]) if rank >= 2 else None


def _product(node: onnx.NodeProto, index: int, rank: int) -> Axes | None:
    """Read a factor of a matrix product, on the left or right, transposed or not."""
    left = index == 0
    flipped = bool(attribute(node, "transA" if left else "transB", 0))
    if rank < 2:
        return ([], [0]) if rank else None
    batch = list(range(rank - 2))
    outputs, inputs = (rank - 2, rank - 1) if left != flipped else (rank - 1, rank - 2)
    return [*batch, outputs], [inputs]


def _recurrent(node: onnx.NodeProto, index: int, rank: int) -> Axes | None:
    return ([0, 1], [2]) if rank == 3 else None


def _lookup(node: onnx.NodeProto, index: int, rank: int) -> Axes | None:
    if rank < 2 or attribute(node, "axis", 0) != 0:
        return None
    return [0], list(range(1, rank))


def _einsum(node: onnx.NodeProto, index: int, rank: int) -> Axes | None:
    """Read an operand: letters that the result keeps count outputs, the others inputs."""
    equation = attribute(node, "equation", b"").decode().replace(" ", "")
    if "." in equation:
        return None
    operands, _, result = equation.partition("->")
    terms = operands.split(",")
    if index >= len(terms) or len(terms[index]) != rank:
        return None
    if "->" not in equation:
        result = "".join(letter for letter in operands if operands.count(letter) == 1)
    outputs = [axis for axis, letter in enumerate(terms[index]) if letter in result]
    return outputs, [axis for axis in range(rank) if axis not in outputs]


RULES: dict[tuple[str, str], dict[int, Rule]] = {
    ("", "Conv"): {1: _convolution},
    ("", "DeformConv"): {1: _convolution},
    ("", "ConvTranspose"): {1: _transposed_convolution},
    ("", "ConvInteger"): {1: _convolution},
    ("", "QLinearConv"): {3: _convolution},
    ("", "Gemm"): {0: _product, 1: _product},
    ("", "MatMul"): {0: _product, 1: _product},
    ("", "MatMulInteger"): {0: _product, 1: _product},
    ("", "QLinearMatMul"): {0: _product, 3: _product},
    ("", "LSTM"): {1: _recurrent, 2: _recurrent},
    ("", "GRU"): {1: _recurrent, 2: _recurrent},
    ("", "RNN"): {1: _recurrent, 2: _recurrent},
    ("", "Einsum"): dict.fromkeys(range(8), _einsum),
    (MICROSOFT, "FusedConv"): {1: _convolution},
    (MICROSOFT, "QLinearConv"): {3: _convolution},
    (MICROSOFT, "FusedMatMul"): {0: _product, 1: _product},
    (MICROSOFT, "FusedGemm"): {0: _product, 1: _product},
    (MICROSOFT, "GemmFastGelu"): {1: _product},
    (MICROSOFT, "QGemm"): {0: _product, 3: _product},
    (MICROSOFT, "MatMulIntegerToFloat"): {0: _product, 1: _product},
    (MICROSOFT, "DynamicQuantizeMatMul"): {1: _product},
    (MICROSOFT, "Attention"): {1: _product},
    (MICROSOFT, "QAttention"): {1: _product},
    (MICROSOFT, "LongformerAttention"): {1: _product, 4: _product},
}
TABLES: dict[tuple[str, str], dict[int, Rule]] = {
    ("", "Gather"): {0: _lookup},
    (MICROSOFT, "EmbedLayerNormalization"): dict.fromkeys((2, 3, 4), _lookup),
}

# Operator -> weight's input -> inputs with its scale and zero point, and whether a vector
# of them counts outputs from the front (True) or along the last dimension of the weight.
QUANTIZED: dict[tuple[str, str], dict[int, tuple[int | None, int | None, bool]]] = {
    ("", "QLinearConv"): {3: (4, 5, True)},
    (MICROSOFT, "QLinearConv"): {3: (4, 5, True)},
    ("", "ConvInteger"): {1: (None, 3, True)},
    ("", "QLinearMatMul"): {0: (1, 2, False), 3: (4, 5, False)},
    ("", "MatMulInteger"): {0: (None, 2, False), 1: (None, 3, False)},
    (MICROSOFT, "QGemm"): {0: (1, 2, False), 3: (4, 5, False)},
    (MICROSOFT, "MatMulIntegerToFloat"): {0: (2, 4, False), 1: (3, 5, False)},
    (MICROSOFT, "DynamicQuantizeMatMul"): {1: (2, 3, False)},
    (MICROSOFT, "QAttention"): {1: (4, 7, False)},
}

NORMALIZATIONS = {
    "BatchNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "RMSNormalization",
    "LpNormalization",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "EmbedLayerNormalization",
    "GroupNorm",
    "SkipGroupNorm",
}
BIASES = {
    ("Conv", 2),
    ("ConvTranspose", 2),
    ("FusedConv", 2),
    ("DeformConv", 3),
    ("Gemm", 2),
    ("FusedGemm", 2),
    ("GemmFastGelu", 2),
    ("QLinearConv", 8),
    ("LSTM", 3),
    ("GRU", 3),
    ("RNN", 3),
    ("Attention", 2),
    ("QAttention", 2),
    ("FastGelu", 1),
    ("BiasGelu", 1),
    ("MultiHeadAttention", 3),
}
RECURRENT_STATE = {("LSTM", 5), ("LSTM", 6), ("LSTM", 7), ("GRU", 5), ("RNN", 5)}
SCALES = {"QuantizeLinear", "DequantizeLinear"} | {op for _, op in QUANTIZED}


def reason(node: onnx.NodeProto | None, index: int) -> str:
    """Say in a few words what a constant does at a place that takes no weight."""
    if node is None:
        return "output of the graph"
    op = node.op_type
    if op in NORMALIZATIONS:
        return "normalisation"
    if (op, index) in BIASES:
        return "bias"
    if (op, index) in RECURRENT_STATE:
        return "state or peephole of a recurrent layer"
    if op == "PRelu":
        return "PReLU slope"
    if op in ("Add", "Sub"):
        return "added (a bias or an offset)"
    if op in ("Mul", "Div"):
        return "multiplied (a scale)"
    if op in SCALES and index > 0:
        return "scale of quantised values"
    if op == "Gather" and index == 0:
        return "looked up by Gather along an inner axis"
    return f"input {index} of {op}, which is no weight"
