"""Reduces tensors along axes, and sums or multiplies up along one."""

from collections.abc import Callable

import torch
from torch import Tensor

from onnxprune.reimport.operators.unsigned import widened
from onnxprune.reimport.registry import operator

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _sum(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return torch.sum(x, dims, keep, dtype=x.dtype)


def _mean(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return torch.mean(x, dims, keep)
    count = x.numel() // max(_sum(x, dims, keep).numel(), 1)
    return torch.div(_sum(x, dims, keep), count, rounding_mode="trunc")


def _product(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    for dim in sorted(dims, reverse=True):
        x = torch.prod(x, dim, keep, dtype=x.dtype)
    return x


def _largest(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return (
        _of_nothing(x, dims, keep, lowest=True) if _is_empty(x, dims) else x.amax(dims, keep)
    )


def _smallest(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    if _is_empty(x, dims):
        return _of_nothing(x, dims, keep, lowest=False)
    return x.amin(dims, keep)


def _is_empty(x: Tensor, dims: list[int]) -> bool:
    return any(x.shape[dim] == 0 for dim in dims)


def _of_nothing(x: Tensor, dims: list[int], keep: bool, *, lowest: bool) -> Tensor:
    shape = _sum(x, dims, keep).shape
    value: float | bool
    if x.dtype == torch.bool:
        value = not lowest
    elif x.is_floating_point():
        value = float("-inf") if lowest else float("inf")
    else:
        limits = torch.iinfo(x.dtype)
        value = limits.min if lowest else limits.max
    return x.new_full(shape, value)


def _absolute_sum(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _sum(x.abs(), dims, keep)


def _square_sum(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _sum(x * x, dims, keep)


def _norm(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, 2, dims, keep)
    return norm


def _log_sum(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return torch.log(_sum(x, dims, keep))


REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": _absolute_sum,
    "ReduceMax": _largest,
    "ReduceMean": _mean,
    "ReduceMin": _smallest,
    "ReduceProd": _product,
    "ReduceSum": _sum,
    "ReduceSumSquare": _square_sum,
}
OF_FLOATS: dict[str, Reduction] = {
    "ReduceL2": _norm,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": torch.logsumexp,
}


def _as_floats(function: Reduction) -> Reduction:
    def compute(x: Tensor, dims: list[int], keep: bool) -> Tensor:
        if x.is_floating_point():
            return function(x, dims, keep)
        return function(x.double(), dims, keep).to(x.dtype)

    return compute


def _register(name: str, function: Reduction) -> None:
    @operator(name)
    @widened
    def compute(
        x: Tensor,
        places: Tensor | None = None,
        *,
        axes: list[int] | None = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        dims: list[int] = places.tolist() if places is not None else axes or []
        if not dims and not noop_with_empty_axes:
            dims = list(range(x.dim()))
        if not dims:
            # torch takes no axes for all axes: one of length 1 is reduced instead.
            return function(x.unsqueeze(-1), [x.dim()], False)
        return function(x, [dim % x.dim() for dim in dims], bool(keepdims))


for _name, _function in REDUCTIONS.items():
    _register(_name, _function)
for _name, _function in OF_FLOATS.items():
    _register(_name, _as_floats(_function))


@operator("CumSum")
@widened
def sum_up(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """Add up along an axis."""
    dim = int(axis.item()) % x.dim()
    ready = _ordered(x, dim, exclusive, reverse, start=0)
    result = torch.cumsum(ready, dim, dtype=x.dtype)
    return result.flip(dim) if reverse else result


@operator("CumProd")
@widened
def multiply_up(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """Multiply up along an axis."""
    dim = int(axis.item()) % x.dim()
    ready = _ordered(x, dim, exclusive, reverse, start=1)
    result = torch.cumprod(ready, dim, dtype=x.dtype)
    return result.flip(dim) if reverse else result


def _ordered(x: Tensor, dim: int, exclusive: int, reverse: int, *, start: int) -> Tensor:
    ready = x.flip(dim) if reverse else x
    if not exclusive or x.shape[dim] == 0:
        return ready
    first = torch.full_like(ready.narrow(dim, 0, 1), start)
    return torch.cat([first, ready.narrow(dim, 0, x.shape[dim] - 1)], dim)
