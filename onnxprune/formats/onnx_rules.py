"""Which inputs of which operators are weights, and how each operator reads them."""

from collections.abc import Callable
from typing import Any

import onnx

from onnxprune.errors import InputError
from onnxprune.formats.onnx_graph import node_label
from onnxprune.formats.view import View
from onnxprune.types import Layout

Rule = Callable[[onnx.NodeProto, int, View], Layout | None]
"""(node, index of the input, what the node sees of the weight) -> how it reads it, or None."""

MICROSOFT = "com.microsoft"


TYPES = {int: "INT", float: "FLOAT", bytes: "STRING", type(None): "INTS"}
"""What an attribute is whose default is of a type of Python's."""


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return the value of a node's attribute, which is of its default's type (None: integers)."""
    found = _stated(node, name)
    if found is None:
        return default
    kind = onnx.AttributeProto.AttributeType.Name(found.type)
    wanted = TYPES[type(default)]
    if kind != wanted:
        raise InputError(f"'{node_label(node)}': {name} is {kind}, {wanted} expected")
    return onnx.helper.get_attribute_value(found)


def any_attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return the value of a node's attribute, of whatever kind it is."""
    found = _stated(node, name)
    return default if found is None else onnx.helper.get_attribute_value(found)


def _stated(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    return next((a for a in node.attribute if a.name == name and not a.ref_attr_name), None)


def _convolution(node: onnx.NodeProto, index: int, view: View) -> Layout | None:
    return view.layout([0], [1]) if len(view.groups) >= 2 else None


def _transposed_convolution(node: onnx.NodeProto, index: int, view: View) -> Layout | None:
    """Read [inputs, outputs of one group, kernel]; every group has its own outputs."""
    if len(view.groups) < 2:
        return None
    inputs, *others = view.shape
    group = attribute(node, "group", 1)
    if group > 1 and inputs % group == 0:
        split = view.reshaped([group, inputs // group, *others])
        if split is not None:
            return split.layout([0, 2], [1])
    return view.layout([1], [0])


def _product(node: onnx.NodeProto, index: int, view: View) -> Layout | None:
    """Read a factor of a matrix product, on the left or right, transposed or not."""
    side = "A" if index == 0 else "B"
    axes = list(range(len(view.groups)))
    if len(axes) < 2:
        return view.layout([], axes) if axes else None
    if attribute(node, f"transBatch{side}", 0):
        axes = [*axes[1:-1], axes[0], axes[-1]]
    *batch, rows, columns = axes
    if (side == "A") != bool(attribute(node, f"trans{side}", 0)):
        return view.layout([*batch, rows], [columns])
    return view.layout([*batch, columns], [rows])


def _recurrent(node: onnx.NodeProto, index: int, view: View) -> Layout | None:
    return view.layout([0, 1], [2]) if len(view.groups) == 3 else None


def _lookup(node: onnx.NodeProto, index: int, view: View) -> Layout | None:
    rank = len(view.groups)
    if rank < 2 or attribute(node, "axis", 0) not in (0, -rank):
        return None
    return view.layout([0], list(range(1, rank)))


def _einsum(node: onnx.NodeProto, index: int, view: View) -> Layout | None:
    """Read an operand: letters that the result keeps count outputs, the others inputs.

    Where no letter is summed over, the operand scales or is spread: that is no weight.
    """
    equation = attribute(node, "equation", b"").decode(errors="replace").replace(" ", "")
    operands, arrow, result = equation.partition("->")
    terms = operands.split(",")
    if index >= len(terms) or "." in terms[index] or len(terms[index]) != len(view.groups):
        return None
    if not arrow:
        result = "".join(letter for letter in operands if operands.count(letter) == 1)
    inputs = [axis for axis, letter in enumerate(terms[index]) if letter not in result]
    outputs = [axis for axis, letter in enumerate(terms[index]) if letter in result]
    return view.layout(outputs, inputs) if inputs else None


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
SCALED = {"QuantizeLinear", "DequantizeLinear"} | {op for _, op in QUANTIZED}
OPERATORS = {
    **dict.fromkeys(NORMALIZATIONS, "normalisation"),
    **dict.fromkeys(("Add", "Sub"), "added (a bias or an offset)"),
    **dict.fromkeys(("Mul", "Div"), "multiplied (a scale)"),
    "PRelu": "PReLU slope",
}
PLACES = {
    **dict.fromkeys(BIASES, "bias"),
    **dict.fromkeys(RECURRENT_STATE, "state or peephole of a recurrent layer"),
    ("Gather", 0): "looked up by Gather along an inner axis",
}


def reason(node: onnx.NodeProto | None, index: int) -> str:
    """Say in a few words what a constant does at a place that takes no weight."""
    if node is None:
        return "output of the graph"
    op = node.op_type
    known = PLACES.get((op, index)) or OPERATORS.get(op)
    if known is not None:
        return known
    if op in SCALED and index > 0:
        return "scale of quantised values"
    return f"input {index} of {op}, which is no weight"
