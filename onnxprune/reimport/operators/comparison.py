"""Compares, and computes with truth values and bits; none of it but Where carries a gradient."""

from collections.abc import Callable

import torch
from torch import Tensor

from onnxprune.errors import InputError
from onnxprune.reimport.operators.broadcasting import align
from onnxprune.reimport.operators.unsigned import moved, widened
from onnxprune.reimport.registry import operator

Binary = Callable[[Tensor, Tensor], Tensor]
BINARY: dict[str, Binary] = {
    "And": torch.logical_and,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}
WIDEST = 63


def _register(name: str, function: Binary) -> None:
    @operator(name)
    @widened
    def compute(
        a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0
    ) -> Tensor:
        return function(a, align(a, b, broadcast, axis))


for _name, _function in BINARY.items():
    _register(_name, _function)


@operator("Not")
def invert(x: Tensor) -> Tensor:
    """Swap true and false."""
    return torch.logical_not(x)


@operator("BitwiseNot")
@moved
def invert_bits(x: Tensor) -> Tensor:
    """Swap zeros and ones of every number."""
    return torch.bitwise_not(x)


@operator("BitShift")
@widened
def shift(x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    """Shift bits; by more than there are, or by less than none, only the sign is left."""
    if direction not in ("LEFT", "RIGHT"):
        raise InputError(f"BitShift has direction '{direction}', not LEFT or RIGHT")
    outside = (y < 0) | (y > WIDEST)
    wide, count = x.to(torch.int64), y.to(torch.int64).masked_fill(outside, WIDEST)
    if direction == "RIGHT":
        return torch.bitwise_right_shift(wide, count).to(x.dtype)
    return torch.bitwise_left_shift(wide, count).masked_fill(outside, 0).to(x.dtype)


@operator("IsNaN")
def is_nan(x: Tensor) -> Tensor:
    """Say which elements are no numbers."""
    return torch.isnan(x)


@operator("IsInf")
def is_infinite(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Say which elements are infinite, on the sides that are asked for."""
    if detect_negative and detect_positive:
        return torch.isinf(x)
    if detect_positive:
        return torch.isposinf(x)
    return torch.isneginf(x) if detect_negative else torch.zeros_like(x, dtype=torch.bool)


@operator("Where")
def choose(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Take elements of one tensor where a condition holds, of another elsewhere."""
    return torch.where(condition, x, y)
