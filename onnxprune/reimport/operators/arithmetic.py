"""Computes element by element: sums, products, powers and functions of one number."""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from onnxprune.reimport.operators.broadcasting import align
from onnxprune.reimport.operators.unsigned import widened
from onnxprune.reimport.registry import operator

Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Tensor, Tensor], Tensor]


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _raise(a: Tensor, b: Tensor) -> Tensor:
    # A number as exponent is many times faster than a tensor, and squares are squared.
    if b.numel() == 1 and b.dim() <= a.dim() and _is_known(b):
        return torch.pow(a, b.item()).to(a.dtype)
    return torch.pow(a, b).to(a.dtype)


def _is_known(value: Tensor) -> bool:
    return value.device.type == "cpu" and not value.requires_grad


UNARY: dict[str, Unary] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Log": torch.log,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
}
BINARY: dict[str, Binary] = {
    "Add": torch.add,
    "Div": _divide,
    "Mul": torch.mul,
    "Pow": _raise,
    "Sub": torch.sub,
}
VARIADIC: dict[str, Binary] = {
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Sum": torch.add,
}


def _register_unary(name: str, function: Unary) -> None:
    @operator(name)
    @widened
    def compute(x: Tensor, *, consumed_inputs: list[int] | None = None) -> Tensor:
        return function(x)


def _register_binary(name: str, function: Binary) -> None:
    @operator(name)
    @widened
    def compute(
        a: Tensor,
        b: Tensor,
        *,
        axis: int | None = None,
        broadcast: int = 0,
        consumed_inputs: list[int] | None = None,
    ) -> Tensor:
        return function(a, align(a, b, broadcast, axis))


def _register_variadic(name: str, function: Binary) -> None:
    @operator(name)
    @widened
    def compute(*inputs: Tensor, consumed_inputs: list[int] | None = None) -> Tensor:
        return reduce(function, inputs)


for _name, _unary in UNARY.items():
    _register_unary(_name, _unary)
for _name, _binary in BINARY.items():
    _register_binary(_name, _binary)
for _name, _binary in VARIADIC.items():
    _register_variadic(_name, _binary)


@operator("Mean")
def mean(*inputs: Tensor, consumed_inputs: list[int] | None = None) -> Tensor:
    """Average tensors, element by element."""
    return reduce(torch.add, inputs) / len(inputs)


@operator("Mod")
@widened
def modulo(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """Return the remainder with the sign of the divisor, or with that of the dividend."""
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)
