"""Cuts tensors into pieces, joins them and pads them."""

import torch
from torch import Tensor
from torch.nn import functional

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.reimport.operators.unsigned import moved
from onnxprune.reimport.registry import operator


@operator("Concat")
def concatenate(*inputs: Tensor, axis: int | None = None, opset: int) -> Tensor:
    """Join tensors along an axis."""
    if axis is None and opset >= 4:
        raise InputError("Concat names no axis")
    return torch.cat(inputs, 1 if axis is None else axis)


@operator("Split")
def split_up(
    x: Tensor,
    lengths: Tensor | None = None,
    *,
    axis: int = 0,
    split: list[int] | None = None,
    num_outputs: int | None = None,
    outputs: int,
) -> tuple[Tensor, ...]:
    """Cut a tensor along an axis, into pieces of given or of equal lengths."""
    length = x.shape[axis]
    sizes: list[int] | None = lengths.tolist() if lengths is not None else split
    if sizes is None:
        count = num_outputs or outputs
        even = -(-length // count)
        sizes = [even] * (count - 1) + [length - even * (count - 1)]
    if sum(sizes) != length or min(sizes, default=0) < 0:
        raise InputError(f"Split of {length} elements into pieces of {sizes}")
    return torch.split(x, sizes, axis)


@operator("Slice")
@moved
def cut(
    x: Tensor,
    begins: Tensor | None = None,
    limits: Tensor | None = None,
    places: Tensor | None = None,
    strides: Tensor | None = None,
    *,
    starts: list[int] | None = None,
    ends: list[int] | None = None,
    axes: list[int] | None = None,
) -> Tensor:
    """Cut ranges out of a tensor; steps may be negative."""
    first: list[int] = begins.tolist() if begins is not None else starts or []
    stop: list[int] = limits.tolist() if limits is not None else ends or []
    dims: list[int] = places.tolist() if places is not None else axes or []
    dims = dims or list(range(len(first)))
    steps: list[int] = strides.tolist() if strides is not None else [1] * len(first)
    for dim, begin, end, step in zip(dims, first, stop, steps, strict=True):
        x = _cut_one(x, dim % x.dim(), begin, end, step)
    return x


def _cut_one(x: Tensor, dim: int, begin: int, end: int, step: int) -> Tensor:
    length = x.shape[dim]
    # Unlike Python, ONNX starts a backward cut at the first element at the least.
    last = length if step > 0 else length - 1
    first = min(max(begin + length if begin < 0 else begin, 0), last)
    stop = min(max(end + length if end < 0 else end, last - length), last)
    places = range(first, stop, step)
    if step > 0:
        if len(places) == length:
            return x
        return x[(slice(None),) * dim + (slice(places.start, places.stop, step),)]
    forward = places[::-1]
    if not forward:
        return x.narrow(dim, 0, 0)
    kept = slice(forward.start, forward.stop, forward.step)
    return x[(slice(None),) * dim + (kept,)].flip(dim)


@operator("Pad")
@moved
def pad(
    x: Tensor,
    amounts: Tensor | None = None,
    filling: Tensor | None = None,
    places: Tensor | None = None,
    *,
    mode: str = "constant",
    pads: list[int] | None = None,
    paddings: list[int] | None = None,
    value: float = 0.0,
) -> Tensor:
    """Put elements around a tensor, or take some away where a number is negative."""
    sizes: list[int] = amounts.tolist() if amounts is not None else pads or paddings or []
    dims: list[int] = places.tolist() if places is not None else list(range(x.dim()))
    if len(sizes) != 2 * len(dims):
        raise InputError(f"Pad has {len(sizes)} numbers for {len(dims)} axes")
    before, after = [0] * x.dim(), [0] * x.dim()
    for i, dim in enumerate(dims):
        before[dim], after[dim] = sizes[i], sizes[i + len(dims)]
    if mode == "constant":
        fill = filling.item() if filling is not None and filling.numel() else value
        if not x.is_floating_point():
            fill = int(fill)
        ends = [each for dim in reversed(range(x.dim())) for each in (before[dim], after[dim])]
        return functional.pad(x, ends, "constant", fill)
    for dim in range(x.dim()):
        if before[dim] or after[dim]:
            x = _pad_one(x, dim, before[dim], after[dim], mode)
    return x


def _pad_one(x: Tensor, dim: int, before: int, after: int, mode: str) -> Tensor:
    kept = range(max(-before, 0), x.shape[dim] - max(-after, 0))
    x, length = x.narrow(dim, kept.start, len(kept)), len(kept)
    places = torch.arange(-max(before, 0), length + max(after, 0), device=x.device)
    if mode == "edge":
        places = places.clamp(0, length - 1)
    elif mode == "wrap":
        places = places % length
    elif mode == "reflect":
        period = max(2 * (length - 1), 1)
        places = places % period
        places = torch.minimum(places, period - places) if length > 1 else places
    else:
        raise UnsupportedError(f"Pad has mode '{mode}', which is not known")
    return x.index_select(dim, places)


@operator("Compress")
@moved
def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """Keep the slices, or the elements, for which a condition holds."""
    flat = x.reshape(-1) if axis is None else x
    places = torch.nonzero(condition.reshape(-1)).reshape(-1)
    return flat.index_select(axis or 0, places.to(x.device))
