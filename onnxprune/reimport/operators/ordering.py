"""Finds largest, smallest and different elements; the values it returns carry gradients."""

import torch
from torch import Tensor

from onnxprune.errors import InputError
from onnxprune.reimport.operators.unsigned import widen
from onnxprune.reimport.registry import operator


@operator("ArgMax")
def find_largest(
    x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> Tensor:
    """Return where the largest elements are; of equal ones the first, or the last."""
    wide, dim = widen(x), axis % x.dim()
    if not select_last_index:
        return torch.argmax(wide, dim, bool(keepdims))
    return x.shape[dim] - 1 - torch.argmax(wide.flip(dim), dim, bool(keepdims))


@operator("ArgMin")
def find_smallest(
    x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> Tensor:
    """Return where the smallest elements are; of equal ones the first, or the last."""
    wide, dim = widen(x), axis % x.dim()
    if not select_last_index:
        return torch.argmin(wide, dim, bool(keepdims))
    return x.shape[dim] - 1 - torch.argmin(wide.flip(dim), dim, bool(keepdims))


@operator("TopK")
def take_top(
    x: Tensor,
    count: Tensor | None = None,
    *,
    axis: int = -1,
    k: int | None = None,
    largest: int = 1,
    sorted: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return the largest or smallest elements in order, and where they are."""
    wanted = int(count.item()) if count is not None else k
    dim = axis % x.dim()
    if wanted is None or not 0 <= wanted <= x.shape[dim]:
        raise InputError(f"TopK asks for {wanted} of {x.shape[dim]} elements")
    # Only a stable sort names the first of equal elements first, as ONNX demands.
    values, indices = torch.sort(widen(x), dim=dim, descending=bool(largest), stable=True)
    return values.narrow(dim, 0, wanted).to(x.dtype), indices.narrow(dim, 0, wanted)


@operator("NonZero")
def find_nonzero(x: Tensor) -> Tensor:
    """Return the places of elements that are not zero, one column each."""
    return torch.nonzero(x != 0).t().contiguous()


@operator("Unique")
def find_unique(
    x: Tensor, *, axis: int | None = None, sorted: int = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return different elements or slices, where they are first, which each is, and counts."""
    flat = x.reshape(-1) if axis is None else x
    dim = 0 if axis is None else axis % x.dim()
    _, inverse, counts = torch.unique(
        widen(flat.detach()), sorted=True, return_inverse=True, return_counts=True, dim=dim
    )
    places = torch.arange(flat.shape[dim], device=x.device)
    first = places.new_full(counts.shape, flat.shape[dim])
    first = first.scatter_reduce(0, inverse, places, "amin")
    if not sorted:
        order = torch.argsort(first)
        first, counts = first[order], counts[order]
        inverse = torch.argsort(order)[inverse]
    return widen(flat).index_select(dim, first).to(x.dtype), first, inverse, counts
