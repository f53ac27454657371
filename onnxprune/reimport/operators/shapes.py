"""Arranges dimensions without touching values: shapes, transpositions, broadcasts."""

import math
from typing import Any

import torch
from torch import Tensor

from onnxprune.errors import InputError
from onnxprune.reimport.operators.unsigned import moved
from onnxprune.reimport.registry import operator


@operator("Identity")
def keep(x: Any) -> tuple[Any]:
    """Return a value as it is, be it a tensor or a sequence."""
    return (x,)


@operator("Shape")
def read_shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """Return the lengths of the dimensions between two places."""
    return torch.tensor(list(x.shape)[slice(start, end)], dtype=torch.int64)


@operator("Size")
def read_size(x: Tensor) -> Tensor:
    """Return the number of elements."""
    return torch.tensor(x.numel(), dtype=torch.int64)


@operator("Reshape")
def reshape(
    x: Tensor,
    lengths: Tensor | None = None,
    *,
    shape: list[int] | None = None,
    allowzero: int = 0,
    consumed_inputs: list[int] | None = None,
) -> Tensor:
    """Give elements another shape; 0 keeps a dimension unless zeros are allowed."""
    wanted: list[int] = lengths.tolist() if lengths is not None else shape or []
    if not allowzero:
        if any(each == 0 and i >= x.dim() for i, each in enumerate(wanted)):
            raise InputError(
                f"Reshape to {wanted} keeps a dimension beyond the {x.dim()} there are"
            )
        wanted = [x.shape[i] if each == 0 else each for i, each in enumerate(wanted)]
    return x.reshape(wanted)


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Fold a tensor into a matrix: the dimensions before an axis, and the others."""
    place = axis if axis >= 0 else axis + x.dim()
    return x.reshape(math.prod(x.shape[:place]), math.prod(x.shape[place:]))


@operator("Squeeze")
def squeeze(
    x: Tensor, places: Tensor | None = None, *, axes: list[int] | None = None
) -> Tensor:
    """Drop dimensions of length 1."""
    dims: list[int] | None = places.tolist() if places is not None else axes
    if dims is None:
        return x.squeeze()
    for dim in dims:
        if x.shape[dim] != 1:
            raise InputError(f"Squeeze drops axis {dim}, which has length {x.shape[dim]}")
    return x.squeeze(tuple(dims))


@operator("Unsqueeze")
def unsqueeze(
    x: Tensor, places: Tensor | None = None, *, axes: list[int] | None = None
) -> Tensor:
    """Insert dimensions of length 1 at places of the result."""
    dims: list[int] = places.reshape(-1).tolist() if places is not None else axes or []
    rank = x.dim() + len(dims)
    for dim in sorted(each % rank for each in dims):
        x = x.unsqueeze(dim)
    return x


@operator("Transpose")
def transpose(x: Tensor, *, perm: list[int] | None = None) -> Tensor:
    """Reorder dimensions, or reverse their order."""
    return x.permute(perm if perm is not None else list(range(x.dim()))[::-1])


@operator("Expand")
def expand(x: Tensor, shape: Tensor) -> Tensor:
    """Repeat a tensor along dimensions of length 1, towards a shape."""
    lengths: list[int] = shape.tolist()
    missing = len(lengths) - x.dim()
    own = [1] * missing + list(x.shape)
    wanted = [1] * -missing + lengths
    return x.expand([b if a == 1 else a for a, b in zip(own, wanted, strict=True)])


@operator("Tile")
def tile(x: Tensor, repeats: Tensor, axis: Tensor | None = None, *, opset: int) -> Tensor:
    """Repeat a tensor along each dimension, or along one as before opset 6."""
    if opset >= 6:
        return x.repeat(repeats.tolist())
    if axis is None:
        raise InputError(f"Tile of opset {opset} names no axis")
    times = [1] * x.dim()
    times[int(axis.item())] = int(repeats.item())
    return x.repeat(times)


@operator("ReverseSequence")
@moved
def reverse_sequences(
    x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0
) -> Tensor:
    """Reverse the beginning of each sequence, as long as the sequence is."""
    if {batch_axis % x.dim(), time_axis % x.dim()} != {0, 1}:
        raise InputError(
            f"ReverseSequence has axes {batch_axis} and {time_axis}, which must be 0 and 1"
        )
    steps = torch.arange(x.shape[time_axis], device=x.device)
    last = lengths.to(x.device).unsqueeze(1)
    order = torch.where(steps < last, last - 1 - steps, steps)
    samples = torch.arange(x.shape[batch_axis], device=x.device).unsqueeze(1)
    if time_axis % x.dim() == 1:
        return x[samples, order]
    return x[order, samples].transpose(0, 1)
