"""Which float constants are numbers that belong to an operator, not tensors that are trained."""

from onnxprune.formats.onnx_graph import MOVING, Constant, Graph, Use

COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Range", "OneHot")
SETTINGS: dict[str, frozenset[int] | None] = {
    **dict.fromkeys(COMPARISONS),
    "Resize": frozenset((1, 2, 3)),
    "Upsample": frozenset((1,)),
    "Clip": frozenset((1, 2)),
    "Pad": frozenset((2,)),
    "Pow": frozenset((1,)),
    "Dropout": frozenset((1,)),
    "BatchNormalization": frozenset((3, 4)),
    "NegativeLogLikelihoodLoss": frozenset((2,)),
    "SoftmaxCrossEntropyLoss": frozenset((2,)),
    "NonMaxSuppression": frozenset((2, 3, 4)),
    "QuantizeLinear": frozenset((1, 2)),
    "DequantizeLinear": frozenset((1, 2)),
    "MatMulIntegerToFloat": frozenset((2, 3)),
    "DynamicQuantizeMatMul": frozenset((2,)),
    "QAttention": frozenset((3, 4)),
    "RotaryEmbedding": frozenset((1, 2, 3)),
    "GroupQueryAttention": frozenset((7, 8)),
}
"""By operator, the inputs that are settings; None stands for all of them."""


def is_trainable(graph: Graph, constant: Constant) -> bool:
    """Whether a float constant is more than a setting of operators, or a single number.

    A constant that an operator only moves is followed to where it is used.
    """
    if not constant.record.dims:
        return False
    waiting = list(constant.scope.uses[constant.name])
    seen: set[Use] = set()
    while waiting:
        use = waiting.pop()
        if use in seen:
            continue
        seen.add(use)
        onward = _onward(graph, use)
        if onward is not None:
            waiting += onward
        elif not _is_setting(use):
            return True
    return False


def _onward(graph: Graph, use: Use) -> list[Use] | None:
    """Return the uses of what a node makes of a constant, if it only hands it on."""
    node, scope = use.node, use.scope
    if node is None:
        return None
    body = graph.called(node)
    if body is not None:
        name = body.inputs[use.index] if use.index < len(body.inputs) else ""
        return list(body.uses.get(name, []))
    if node.op_type not in MOVING or _is_setting(use):
        return None
    return [found for name in node.output if name for found in scope.uses.get(name, [])]


def _is_setting(use: Use) -> bool:
    if use.node is None:
        return False
    name = use.node.op_type
    if name.startswith("QLinear") or name == "QGemm":
        return True
    places = SETTINGS.get(name, frozenset())
    return places is None or use.index in places
