"""Operators that treat every element alike."""

from onnxprune.structure.registry import follows
from onnxprune.structure.step import Step
from onnxprune.structure.values import Axis, UnfollowableError

Outputs = list[tuple[Axis, ...]]
BROADCASTING = 7
"""The first opset in which operators broadcast as numpy does."""


@follows(
    *("Abs", "Acos", "Asin", "Atan", "Cast", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp"),
    *("Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu"),
    *("Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid"),
    *("Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh"),
    "ThresholdedRelu",
)
def unary(step: Step) -> Outputs:
    """Leave channels where they are."""
    return [step.axes()]


@follows("CastLike")
def cast_like(step: Step) -> Outputs:
    """Take the type of another value, and nothing else of it."""
    step.touched.update(map(id, step.axes(1)))
    return [step.axes()]


@follows("Gelu", "QuickGelu", domain="com.microsoft")
def contributed(step: Step) -> Outputs:
    """Leave channels where they are."""
    return [step.axes()]


@follows("FastGelu", domain="com.microsoft")
def biased(step: Step) -> Outputs:
    """Add a bias first, if there is one."""
    return [step.broadcast(step.axes(), step.axes(1))] if step.has(1) else [step.axes()]


@follows("Clip")
def clip(step: Step) -> Outputs:
    """Bound by scalars."""
    for index in range(1, len(step.inputs)):
        if step.has(index) and step.axes(index):
            raise UnfollowableError(f"{step.label} has bounds that are no scalars")
    return [step.axes()]


@follows("Dropout")
def dropout(step: Step) -> Outputs:
    """Do nothing where nothing is trained."""
    training = step.has(2) and step.scalar(2) != 0
    if training or len(step.node.output) > 1:
        raise UnfollowableError(f"{step.label} is in training or gives a mask")
    for index in range(1, len(step.inputs)):
        if step.has(index):
            step.touched.update(map(id, step.axes(index)))
    return [step.axes()]


@follows(
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max"),
    *("Mean", "Min", "Mod", "Mul", "Or", "Pow", "PRelu", "Sub", "Sum", "Where", "Xor"),
)
def broadcasting(step: Step) -> Outputs:
    """Combine values element by element."""
    if step.opset < BROADCASTING:
        raise UnfollowableError(f"{step.label} is of an opset before {BROADCASTING}")
    shapes = [step.axes(index) for index in range(len(step.inputs))]
    return [step.broadcast(*shapes)]


@follows("QuantizeLinear", "DequantizeLinear")
def quantise(step: Step) -> Outputs:
    """Scale by one number, or by one for each position of an axis."""
    axes = step.axes()
    if step.get("block_size", 0):
        raise UnfollowableError(f"{step.label} scales in blocks")
    met = list(axes)
    for index in (1, 2):
        if not step.has(index):
            continue
        scale = step.axes(index)
        if len(scale) > 1:
            raise UnfollowableError(f"{step.label} has scales of several axes")
        if len(scale) == 1 and scale[0].size != 1:
            place = step.axis_of(len(axes), default=1)
            met[place] = step.meet(met[place], scale[0])
    return [tuple(met)]
