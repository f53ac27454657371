"""How much each weight lets through, by absolute values alone and without data (SynFlow).

Every float that a model holds is replaced by its absolute value, every input by ones, and what
saturates by the identity (arXiv:2006.05467). This is done from outside, to each function of
torch that is called, so that a module need not know of it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from onnxprune.errors import InputError
from onnxprune.statistics.measurement import (
    Measurement,
    Tensors,
    batch_statistics,
    failures_named,
)

SATURATING = {
    "softmax",
    "log_softmax",
    "sigmoid",
    "logsigmoid",
    "tanh",
    "hardtanh",
    "hardsigmoid",
    "softsign",
    "relu6",
}
"""Functions that large values do not get through; their first argument takes their place."""

LIMITING = {"clamp", "clip"}
REFUSED = {"lstm", "gru", "rnn_tanh", "scaled_dot_product_attention"}
PRODUCTS = {"mul", "__mul__", "__rmul__", "multiply"}
MADE, GATE = "made_in_flow", "gate_of"
"""Attributes of tensors: that they were computed, and of what they are the sigmoid."""


class _SaturatesError(RuntimeError):
    """A function has parts that saturate, which cannot be taken out of it."""


class _Absolute(TorchFunctionMode):
    """Computes with absolute values, in double precision, and lets nothing saturate."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name == "__get__":
            # An element type is asked for to find out what has to be converted.
            return _results(func(*args, **(kwargs or {})))
        args, kwargs = tree_map(_absolute, (args, kwargs or {}))
        if name in REFUSED:
            raise _SaturatesError(f"the flow through {name} saturates in its inside")
        if name in SATURATING and args:
            return _through(args[0], gate=name == "sigmoid")
        if name in LIMITING and args:
            return _made(_without_upper_limit(args, kwargs))
        if name in PRODUCTS and len(args) > 1:
            for one, other in (args[:2], args[1::-1]):
                if getattr(other, GATE, None) is one:
                    return one  # x · sigmoid(x) is close to x where x is large
        return _results(func(*args, **kwargs))


def flow(measurement: Measurement) -> Tensors:
    """Return the gradient of the sum of all outputs by the absolute values of the weights."""
    module = measurement.module
    leaves = {
        path: _made(each.detach().abs().double().requires_grad_())
        for path, each in measurement.tensors.items()
    }
    rest = {path: _made(each.abs().double()) for path, each in measurement.fixed().items()}
    precision = getattr(module, "precision", None)
    try:
        if precision is not None:
            module.precision = torch.float64  # type: ignore[attr-defined]
        with failures_named("the flow"), batch_statistics(module, False), _Absolute():
            outputs = module.compute(measurement.ones(), {**rest, **leaves})
    finally:
        if precision is not None:
            module.precision = precision  # type: ignore[attr-defined]
    total = _sum(outputs, measurement.hidden)
    if not bool(torch.isfinite(total)):
        raise InputError(
            "the flow through the model is not finite: its weights multiply to more than a"
            " double holds",
            "another method, such as --method lamp, has no such limit",
        )
    if not total.requires_grad:
        return {}
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {path: each for path, each in zip(leaves, found, strict=True) if each is not None}


def _sum(outputs: dict[str, Any], hidden: str | None) -> Tensor:
    """Add up all outputs; a value inside the graph counts only where there is nothing else."""
    floats = {
        name: each
        for name, each in outputs.items()
        if isinstance(each, Tensor) and each.is_floating_point()
    }
    shown = {name: each for name, each in floats.items() if name != hidden} or floats
    return torch.stack([each.double().sum() for each in shown.values()]).sum()


def _absolute(value: Any) -> Any:
    """Return the absolute value of what the model holds; what was computed stays as it is."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value if getattr(value, MADE, False) else _made(value.abs())


def _results(value: Any) -> Any:
    """Note of whatever a function returned that it was computed."""
    # A shape is a tuple to the eyes of a tree, and more than that to whoever asked for it.
    return value if isinstance(value, torch.Size) else tree_map(_made, value)


def _made(value: Any) -> Any:
    """Note that a value was computed; all of them are in double precision."""
    if isinstance(value, Tensor) and value.is_floating_point():
        value = value.double()
        setattr(value, MADE, True)
    return value


def _through(value: Tensor, gate: bool) -> Tensor:
    """Return a value as the result of a function that lets all of it through."""
    result: Tensor = _made(value.view_as(value))
    if gate:
        setattr(result, GATE, value)
    return result


def _without_upper_limit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    least = args[1] if len(args) > 1 else kwargs.get("min")
    value: Tensor = args[0]
    return value.view_as(value) if least is None else torch.clamp(value, least)
