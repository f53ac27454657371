"""Lets functions take the unsigned integers that torch can hold but hardly compute with."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from onnxprune.errors import UnsupportedError

SIGNED: dict[torch.dtype, torch.dtype] = {
    torch.uint16: torch.int16,
    torch.uint32: torch.int32,
    torch.uint64: torch.int64,
}
Function = Callable[..., Any]


def widen(value: Tensor) -> Tensor:
    """Return unsigned integers as signed ones of 64 bits, anything else as it is."""
    if value.dtype not in SIGNED:
        return value
    wide = value.to(torch.int64)
    if value.dtype == torch.uint64 and bool((wide < 0).any()):
        raise UnsupportedError("unsigned integers from 2**63 on cannot be computed with")
    return wide


def widened(function: Function) -> Function:
    """Make a function compute unsigned integers as signed ones of 64 bits."""

    @wraps(function)
    def compute(*inputs: Any, **attributes: Any) -> Any:
        dtype = _unsigned_type(inputs)
        if dtype is None:
            return function(*inputs, **attributes)
        wide = [widen(each) if isinstance(each, Tensor) else each for each in inputs]
        result = function(*wide, **attributes)
        return result.to(dtype) if result.dtype == torch.int64 else result

    return compute


def moved(function: Function) -> Function:
    """Make a function that only moves values move unsigned integers as signed ones."""

    @wraps(function)
    def compute(*inputs: Any, **attributes: Any) -> Any:
        dtype = _unsigned_type(inputs)
        if dtype is None:
            return function(*inputs, **attributes)
        signed = [_reinterpret(each, SIGNED) for each in inputs]
        return function(*signed, **attributes).view(dtype)

    return compute


def _unsigned_type(inputs: tuple[Any, ...]) -> torch.dtype | None:
    for each in inputs:
        if isinstance(each, Tensor) and each.dtype in SIGNED:
            return each.dtype
    return None


def _reinterpret(value: Any, types: dict[torch.dtype, torch.dtype]) -> Any:
    if isinstance(value, Tensor) and value.dtype in types:
        return value.view(types[value.dtype])
    return value
