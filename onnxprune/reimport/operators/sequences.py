"""Computes with sequences and optional values: lists, and None where there is nothing.

A sequence comes back in a tuple of one, so that it is not taken for several outputs.
"""

from typing import Any

import torch
from torch import Tensor

from onnxprune.errors import InputError
from onnxprune.reimport.registry import operator

Sequence = list[Any]


@operator("SequenceConstruct")
def collect(*inputs: Any) -> tuple[Sequence]:
    """Make a sequence."""
    return (list(inputs),)


@operator("SequenceEmpty")
def make_empty(*, dtype: int = 1) -> tuple[Sequence]:
    """Make a sequence of nothing."""
    return ([],)


@operator("SequenceLength")
def count(sequence: Sequence) -> Tensor:
    """Return how many values a sequence has."""
    return torch.tensor(len(sequence), dtype=torch.int64)


@operator("SequenceAt")
def pick(sequence: Sequence, position: Tensor) -> Any:
    """Return one value of a sequence."""
    return (sequence[_find(sequence, position, len(sequence))],)


@operator("SequenceInsert")
def insert(sequence: Sequence, value: Any, position: Tensor | None = None) -> tuple[Sequence]:
    """Put a value before another, or at the end."""
    place = len(sequence)
    if position is not None:
        place = _find(sequence, position, len(sequence) + 1)
    return ([*sequence[:place], value, *sequence[place:]],)


@operator("SequenceErase")
def erase(sequence: Sequence, position: Tensor | None = None) -> tuple[Sequence]:
    """Take a value away, the last one if none is named."""
    place = len(sequence) - 1
    if position is not None:
        place = _find(sequence, position, len(sequence))
    return ([*sequence[:place], *sequence[place + 1 :]],)


def _find(sequence: Sequence, position: Tensor, places: int) -> int:
    place = int(position.item())
    if not -len(sequence) <= place < places:
        raise InputError(f"position {place} is not in a sequence of {len(sequence)}")
    return place % len(sequence) if place < 0 else place


@operator("ConcatFromSequence")
def join(sequence: Sequence, *, axis: int, new_axis: int = 0) -> Tensor:
    """Join the values of a sequence along an axis, or along a new one."""
    return torch.stack(sequence, axis) if new_axis else torch.cat(sequence, axis)


@operator("SplitToSequence")
def split_up(
    x: Tensor, lengths: Tensor | None = None, *, axis: int = 0, keepdims: int = 1
) -> tuple[Sequence]:
    """Cut a tensor along an axis, into pieces of given lengths or into slices."""
    if lengths is None:
        return (list(torch.split(x, 1, axis)) if keepdims else list(x.unbind(axis)),)
    return (list(torch.split(x, lengths.tolist(), axis)),)


@operator("Optional")
def wrap(value: Any = None, *, type: Any = None) -> tuple[Any]:
    """Make an optional value, which may be none."""
    return (value,)


@operator("OptionalGetElement")
def unwrap(value: Any) -> tuple[Any]:
    """Return what an optional value holds."""
    if value is None:
        raise InputError("OptionalGetElement has an optional value that holds nothing")
    return (value,)


@operator("OptionalHasElement")
def is_there(value: Any = None) -> Tensor:
    """Say whether an optional value holds anything."""
    return torch.tensor(value is not None)
