"""Picks elements by their indices, which may count from the end."""

import torch
from torch import Tensor
from torch.nn import functional

from onnxprune.reimport.operators.unsigned import moved
from onnxprune.reimport.registry import operator

MATRIX = 2


@operator("Gather")
@moved
def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """Take slices along an axis, one for each index."""
    dim = axis % x.dim()
    if indices.dim() == 0 and indices.device.type == "cpu":
        return x.select(dim, int(indices.item()))
    places = count_from_start(indices.to(x.device), x.shape[dim])
    if dim == 0 and x.dim() == MATRIX and x.is_floating_point():
        return functional.embedding(places, x)
    taken = x.index_select(dim, places.reshape(-1))
    return taken.reshape(x.shape[:dim] + indices.shape + x.shape[dim + 1 :])


@operator("GatherElements")
@moved
def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """Take one element for each index, from the same place along the other axes."""
    return torch.gather(x, axis, count_from_start(indices.to(x.device), x.shape[axis]))


@operator("GatherND")
@moved
def gather_slices(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """Take one slice for each row of indices, from the same sample of a batch."""
    return x[index_rows(x, indices, batch_dims)]


def count_from_start(indices: Tensor, length: int) -> Tensor:
    """Return indices as int64 that count from the start of an axis."""
    wide = indices.to(torch.int64)
    return torch.where(wide < 0, wide + length, wide)


def index_rows(x: Tensor, indices: Tensor, batch_dims: int = 0) -> tuple[Tensor, ...]:
    """Return what indexes the first dimensions of a tensor by rows of indices."""
    places = indices.to(device=x.device, dtype=torch.int64)
    rank = places.dim() - 1
    samples = [
        torch.arange(x.shape[dim], device=x.device).reshape([-1] + [1] * (rank - dim - 1))
        for dim in range(batch_dims)
    ]
    columns = places.unbind(-1)
    rows = [
        count_from_start(column, x.shape[batch_dims + dim])
        for dim, column in enumerate(columns)
    ]
    return (*samples, *rows)
