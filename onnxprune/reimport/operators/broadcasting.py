"""Aligns operands by the attributes that had to say how, before opset 7 broadcast as numpy does."""

from torch import Tensor

from onnxprune.errors import InputError


def align(first: Tensor, second: Tensor, broadcast: int, axis: int | None) -> Tensor:
    """Shape the second operand so that its dimensions begin at an axis of the first."""
    if not broadcast or axis is None:
        return second
    trailing = first.dim() - axis % first.dim() - second.dim()
    if trailing < 0:
        raise InputError(
            f"{second.dim()} dimensions do not fit into {first.dim()} from axis {axis} on"
        )
    return second.reshape(*second.shape, *[1] * trailing)
