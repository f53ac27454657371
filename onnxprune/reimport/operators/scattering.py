"""Writes elements to places given by indices; always into a copy."""

import math

import torch
from torch import Tensor

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.reimport.operators.indexing import count_from_start, index_rows
from onnxprune.reimport.operators.unsigned import moved
from onnxprune.reimport.registry import operator

REDUCTIONS = {"mul": "prod", "max": "amax", "min": "amin"}


@operator("Scatter", "ScatterElements")
@moved
def scatter_elements(
    x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    """Write, or combine, one element for each index."""
    places = count_from_start(indices.to(x.device), x.shape[axis])
    return _scatter(x, axis, places, updates, reduction)


@operator("ScatterND")
@moved
def scatter_slices(
    x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none"
) -> Tensor:
    """Write, or combine, one slice for each row of indices."""
    rows = index_rows(x, indices)
    if reduction in ("none", "add"):
        return x.index_put(rows, updates, accumulate=reduction == "add")
    strides = [math.prod(x.shape[dim + 1 : len(rows)]) for dim in range(len(rows))]
    place = torch.stack([row * step for row, step in zip(rows, strides, strict=True)]).sum(0)
    slices = x.reshape(math.prod(x.shape[: len(rows)]), -1)
    ready = updates.reshape(place.numel(), -1)
    places = place.reshape(-1, 1).expand_as(ready)
    return _scatter(slices, 0, places, ready, reduction).reshape(x.shape)


def _scatter(x: Tensor, dim: int, places: Tensor, updates: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return x.scatter(dim, places, updates)
    if reduction == "add":
        return x.scatter_add(dim, places, updates)
    if reduction not in REDUCTIONS:
        raise UnsupportedError(f"a scatter has reduction '{reduction}', which is not known")
    return x.scatter_reduce(dim, places, updates, REDUCTIONS[reduction], include_self=True)


@operator("TensorScatter")
@moved
def write_cache(
    cache: Tensor,
    update: Tensor,
    starts: Tensor | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Tensor:
    """Write a piece into each sample of a cache, from an index of its own on."""
    dim, count = axis % cache.dim(), update.shape[axis]
    if mode not in ("linear", "circular"):
        raise UnsupportedError(f"TensorScatter has mode '{mode}', which is not known")
    if dim == 0:
        raise InputError("TensorScatter writes along axis 0, which counts the samples")
    places = torch.arange(count, device=cache.device).expand(cache.shape[0], -1)
    if starts is not None:
        places = places + starts.to(cache.device).unsqueeze(1)
    if mode == "circular":
        places = places % cache.shape[dim]
    shape = [cache.shape[0]] + [1] * (cache.dim() - 1)
    shape[dim] = count
    return cache.scatter(dim, places.reshape(shape).expand_as(update), update)
