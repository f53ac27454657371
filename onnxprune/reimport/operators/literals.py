"""Makes tensors out of numbers: constants, fillings, ranges and windows."""

import math
from typing import Any

import torch
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.dtypes import float_type, torch_type
from onnxprune.reimport.registry import operator


@operator("Constant")
def make_constant(
    *,
    value: Tensor | None = None,
    value_float: float | None = None,
    value_floats: list[float] | None = None,
    value_int: int | None = None,
    value_ints: list[int] | None = None,
    value_string: str | None = None,
    value_strings: list[str] | None = None,
    sparse_value: Any = None,
) -> Tensor:
    """Return the value of a node without inputs."""
    if value is not None:
        return value
    floats = value_float if value_float is not None else value_floats
    if floats is not None:
        return torch.tensor(floats, dtype=float_type())
    whole = value_int if value_int is not None else value_ints
    if whole is not None:
        return torch.tensor(whole, dtype=torch.int64)
    kind = "a sparse value" if sparse_value is not None else "strings"
    raise UnsupportedError(f"Constant holds {kind}, which cannot be computed with")


@operator("ConstantOfShape")
def fill_shape(shape: Tensor, *, value: Tensor | None = None) -> Tensor:
    """Fill a shape with one value."""
    lengths: list[int] = shape.tolist()
    if value is None:
        return torch.zeros(lengths, dtype=float_type(), device=shape.device)
    return value.reshape(()).expand(lengths)


@operator("Range")
def count_up(start: Tensor, limit: Tensor, delta: Tensor, *, stash_type: int = 1) -> Tensor:
    """Count from a number towards another, which is not reached."""
    count = math.ceil((limit - start).item() / delta.item())
    steps = torch.arange(max(count, 0), device=start.device, dtype=start.dtype)
    return start.reshape(()) + steps * delta.reshape(())


@operator("OneHot")
def mark(indices: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    """Mark each index in a dimension of its own; those outside of it mark nothing."""
    length = int(depth.item())
    wanted = indices.to(device=values.device, dtype=torch.int64)
    wanted = torch.where(wanted < 0, wanted + length, wanted)
    marked = wanted.unsqueeze(-1) == torch.arange(length, device=values.device)
    off, on = values.unbind()
    return torch.where(marked, on, off).movedim(-1, axis)


def _make_window(size: Tensor, periodic: int, number: int, weights: list[float]) -> Tensor:
    count = int(size.item())
    period = count if periodic else count - 1
    angles = torch.arange(count, dtype=torch.float64, device=size.device)
    angles = angles * (2 * math.pi / period) if period else angles
    parts = [weight * torch.cos(i * angles) for i, weight in enumerate(weights)]
    return torch.stack(parts).sum(0).to(torch_type(number))


@operator("HannWindow")
def make_hann(size: Tensor, *, periodic: int = 1, output_datatype: int = 1) -> Tensor:
    """Return a Hann window."""
    return _make_window(size, periodic, output_datatype, [0.5, -0.5])


@operator("HammingWindow")
def make_hamming(size: Tensor, *, periodic: int = 1, output_datatype: int = 1) -> Tensor:
    """Return a Hamming window."""
    return _make_window(size, periodic, output_datatype, [25 / 46, -21 / 46])


@operator("BlackmanWindow")
def make_blackman(size: Tensor, *, periodic: int = 1, output_datatype: int = 1) -> Tensor:
    """Return a Blackman window."""
    return _make_window(size, periodic, output_datatype, [0.42, -0.5, 0.08])
