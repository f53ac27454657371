"""What becomes of constant channels in operators that treat every element alike."""

from collections.abc import Callable

import numpy as np

from onnxprune.structure.registry import settles
from onnxprune.structure.steady.known import (
    NOTHING,
    UNKNOWN,
    Known,
    Look,
    apply,
    combine,
    only_zero,
)
from onnxprune.types import Array


@settles("Identity", "Dropout")
def identity(look: Look) -> Known:
    """Change nothing."""
    return look.known()


@settles(
    *(
        "Asin",
        "Atan",
        "Cast",
        "CastLike",
        "Ceil",
        "Celu",
        "Elu",
        "Erf",
        "Floor",
        "Gelu",
        "Mish",
        "Round",
    ),
    *("Selu", "Sign", "Sin", "Sinh", "Softsign", "Sqrt", "Swish", "Tan", "Tanh"),
)
def keeps_zero(look: Look) -> Known:
    """Give zero for zero."""
    return apply(look.known(), only_zero)


@settles("Gelu", "QuickGelu", domain="com.microsoft")
def contributed(look: Look) -> Known:
    """Give zero for zero."""
    return apply(look.known(), only_zero)


@settles("FastGelu", domain="com.microsoft")
def biased(look: Look) -> Known:
    """Give zero where the bias makes it zero."""
    added = combine(look, _add) if look.has(1) else look.known()
    return apply(added, only_zero)


@settles("Abs")
def absolute(look: Look) -> Known:
    """Drop the sign."""
    return apply(look.known(), np.abs)


@settles("Neg")
def negative(look: Look) -> Known:
    """Turn the sign."""
    return apply(look.known(), np.negative)


@settles("Relu")
def relu(look: Look) -> Known:
    """Give zero for what is not above it."""
    return apply(look.known(), lambda values: np.maximum(values, 0.0))


@settles("LeakyRelu")
def leaky(look: Look) -> Known:
    """Scale what is below zero."""
    alpha = look.get("alpha", 0.01)
    return apply(look.known(), lambda values: np.where(values < 0, alpha * values, values))


@settles("HardSigmoid")
def hard_sigmoid(look: Look) -> Known:
    """Bound a line."""
    alpha, beta = look.get("alpha", 0.2), look.get("beta", 0.5)
    return apply(look.known(), lambda values: np.clip(alpha * values + beta, 0.0, 1.0))


@settles("HardSwish")
def hard_swish(look: Look) -> Known:
    """Give zero from minus three down."""
    return apply(look.known(), _hard_swish)


def _hard_swish(values: Array) -> Array:
    return np.where(values <= -3, 0.0, values * np.clip(values / 6 + 0.5, 0.0, 1.0))


@settles("Clip")
def clip(look: Look) -> Known:
    """Bound."""
    low = look.known(1).whole if look.has(1) else look.get("min", -np.inf)
    high = look.known(2).whole if look.has(2) else look.get("max", np.inf)
    if np.isnan(low) or np.isnan(high):
        return NOTHING
    return apply(look.known(), lambda values: np.minimum(np.maximum(values, low), high))


def _add(*sides: Array) -> Array:
    made = sides[0]
    for side in sides[1:]:
        made = made + side
    return made


def _multiply(left: Array, right: Array) -> Array:
    return np.where((left == 0) | (right == 0), 0.0, left * right)


def _divide(left: Array, right: Array) -> Array:
    fine = right != 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(fine & ~np.isnan(right), left / right, UNKNOWN)


def _prelu(values: Array, slope: Array) -> Array:
    below = np.where(values < 0, values * slope, values)
    return np.where(values == 0, 0.0, below)


def _power(values: Array, exponent: Array) -> Array:
    return np.where((values == 0) & (exponent > 0), 0.0, UNKNOWN)


def _where(chosen: Array, left: Array, right: Array) -> Array:
    del chosen
    return np.where(left == right, left, UNKNOWN)


def _largest(*sides: Array) -> Array:
    made = sides[0]
    for side in sides[1:]:
        made = np.maximum(made, side)
    return made


def _smallest(*sides: Array) -> Array:
    made = sides[0]
    for side in sides[1:]:
        made = np.minimum(made, side)
    return made


COMBINING: dict[str, Callable[..., Array]] = {
    "Add": _add,
    "Sum": _add,
    "Sub": lambda left, right: left - right,
    "Mul": _multiply,
    "Div": _divide,
    "PRelu": _prelu,
    "Pow": _power,
    "Where": _where,
    "Max": _largest,
    "Min": _smallest,
    "Mean": lambda *sides: _add(*sides) / len(sides),
}


@settles(*COMBINING)
def broadcasting(look: Look) -> Known:
    """Combine numbers as elements are combined."""
    return combine(look, COMBINING[look.node.op_type])


@settles("QuantizeLinear")
def quantise(look: Look) -> Known:
    """Give the zero point for zero."""
    return _scaled(look, lambda values, zero: np.where(values == 0, zero, UNKNOWN))


@settles("DequantizeLinear")
def dequantise(look: Look) -> Known:
    """Give zero for the zero point."""
    return _scaled(look, lambda values, zero: np.where(values == zero, 0.0, UNKNOWN))


def _scaled(look: Look, function: Callable[[Array, Array], Array]) -> Known:
    """Apply a function of numbers and of the zero points that belong to them."""
    known, shape = look.known(), look.outputs[0]
    zero = look.known(2) if look.has(2) else Known(0.0)
    per_axis = bool(look.has(2) and look.shapes[2] and look.shapes[2][0].size != 1)
    place = int(look.get("axis", 1)) % len(shape) if shape else 0
    made: list[Array | None] = []
    for at, each in enumerate(known.axes):
        points: Array | None = np.array(zero.whole)
        if per_axis and np.isnan(zero.whole) and at == place:
            points = zero.along(0)
        made.append(None if each is None or points is None else function(each, points))
    whole = function(np.array(known.whole), np.array(zero.whole))
    return Known(float(whole), tuple(made))
