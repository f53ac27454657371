"""Follows weights through functions of torch that only move values, one number per value.

What a function does to the numbers of places in a weight it does to its values, too; so nothing
has to be known of what it does. Arithmetic keeps places, but is believed only later, by values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

TRACE = "trace_of_weights"
"""The attribute of a tensor that says of which weights its values are."""

JOINING = {"cat", "concat", "concatenate", "stack"}
MOVING = JOINING | {
    *("T", "mT", "t", "transpose", "swapaxes", "permute", "movedim", "moveaxis", "flip"),
    *("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("expand", "broadcast_to", "repeat", "contiguous", "clone", "detach"),
    *("__getitem__", "narrow", "select", "chunk", "split", "unbind"),
}
CASTING = {"to", "type", "float", "double", "cpu", "cuda"}
ARITHMETIC = {"add", "sub", "mul", "div", "round", "clamp"}
"""What turns weights into whole numbers and back."""

FOLLOWED = MOVING | CASTING | ARITHMETIC

CLOSE, ROUNDED = 1e-3, 0.5
"""How far off values may be after arithmetic, as a share of what they are; after rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Where the values of a tensor come from.

    Args:
        places: makes, in the tensor's shape, the number of each value's place; -1 for others.
        slack: how far values may be from those of the weights; 0 where they are the same.
    """

    places: Callable[[], Tensor]
    slack: float = 0.0


def trace_of(value: Any) -> Trace | None:
    """Return where the values of a tensor come from, if that is known."""
    return getattr(value, TRACE, None) if isinstance(value, Tensor) else None


def lay_trace(value: Tensor, trace: Trace) -> None:
    """Note where the values of a tensor come from."""
    setattr(value, TRACE, trace)


def name_of(function: Any) -> str:
    """Return the name of a function, or of the attribute that it reads."""
    owner = function.__self__ if getattr(function, "__name__", "") == "__get__" else function
    return getattr(owner, "__name__", "")


def is_traced(values: Any) -> bool:
    """Say whether it is known of a tensor among the arguments of a function."""
    return any(trace_of(value) is not None for value in tree_leaves(values))


def follow(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> None:
    """Note where the results of a function come from, if it moves values of weights."""
    name = name_of(function)
    if trace_of(result) is not None:
        return  # it is what went in
    if name in MOVING:
        _move(function, args, kwargs, result)
    elif name in CASTING:
        _cast(args[0], result)
    elif name in ARITHMETIC:
        _compute(name, _tensors((args, kwargs)), result)


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _move(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> None:
    traces = [trace_of(each) for each in _tensors((args, kwargs))]
    if None in traces and name_of(function) not in JOINING:
        return  # places that another tensor says
    args, kwargs = tree_map(_places, (args, kwargs))
    slack = max(trace.slack for trace in traces if trace is not None)
    moved = tree_leaves(function(*args, **kwargs))
    for value, places in zip(tree_leaves(result), moved, strict=True):
        if _fits(value, places):
            lay_trace(value, Trace(partial(_kept, places), slack))


def _places(value: Any) -> Any:
    """Return what is done to places where a function is given values."""
    if not isinstance(value, Tensor):
        return value
    trace = trace_of(value)
    if trace is not None:
        return trace.places()
    return torch.full(value.shape, -1, dtype=torch.int64, device=value.device)


def _fits(value: Tensor, places: Tensor) -> bool:
    """Say whether values can be at these places: none are that were read as another type."""
    same = value.shape == places.shape and places.dtype == torch.int64
    return same and value.is_floating_point()


def _kept(places: Tensor) -> Tensor:
    return places


def _cast(value: Tensor, result: Any) -> None:
    """Keep the places of values that are floats in another type, or elsewhere."""
    trace = trace_of(value)
    if trace is None or not isinstance(result, Tensor) or not result.is_floating_point():
        return
    slack = ROUNDED if result.dtype.itemsize == 1 else trace.slack
    device = result.device
    lay_trace(result, Trace(lambda: trace.places().to(device), slack))


def _compute(name: str, operands: list[Tensor], result: Tensor) -> None:
    """Keep the places of values that are scaled or shifted, each by numbers of its own."""
    traces = [trace for trace in map(trace_of, operands) if trace is not None]
    places = [trace.places() for trace in traces]
    if not all(_fits(result, each) and torch.equal(each, places[0]) for each in places):
        return
    slack = max(ROUNDED if name == "round" else CLOSE, *(trace.slack for trace in traces))
    lay_trace(result, Trace(partial(_kept, places[0]), slack))
