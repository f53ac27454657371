"""Pools: what is left of a window's values, or of all values of a channel."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.dtypes import float_type
from onnxprune.reimport.operators.windows import Window, check_rank, pad, window
from onnxprune.reimport.registry import operator

MAXIMA: dict[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
GLOBAL_MAXIMA: dict[int, Callable[..., Tensor]] = {
    3: F.adaptive_max_pool1d,
    4: F.adaptive_max_pool2d,
    5: F.adaptive_max_pool3d,
}
MEANS: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
SUMS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@operator("MaxPool")
def max_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    storage_order: int = 0,
    strides: list[int] | None = None,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    """Take each window's largest value, and where it is."""
    place = _window(
        "MaxPool",
        x.shape[2:],
        kernel_shape,
        auto_pad=auto_pad,
        pads=pads,
        strides=strides,
        dilations=dilations,
    )
    if not x.is_floating_point():
        found = _maxima(x.to(float_type()), place, bool(ceil_mode), outputs, storage_order)
        return (
            found.to(x.dtype)
            if isinstance(found, Tensor)
            else (found[0].to(x.dtype), found[1])
        )
    return _maxima(x, place, bool(ceil_mode), outputs, storage_order)


def _window(
    name: str, sizes: Sequence[int], kernel: Sequence[int], **attributes: Any
) -> Window:
    """Resolve a pool's attributes; refuse what runtimes pad differently from the standard."""
    place = window(name, sizes, kernel, **attributes)
    automatic = str(attributes["auto_pad"])
    if not automatic.startswith("SAME"):
        return place
    gaps = [
        (-(-size // step) - 1) * step + taps - size
        for size, step, taps in zip(sizes, place.strides, kernel, strict=True)
    ]
    if max(place.dilations) > 1 or min(gaps) < -1:
        raise UnsupportedError(
            f"{name} with auto_pad {automatic} and dilations, or a kernel shorter than "
            "its strides, means different things to different runtimes"
        )
    return place


def _maxima(
    x: Tensor, place: Window, ceil: bool, outputs: int, storage_order: int
) -> Tensor | tuple[Tensor, Tensor]:
    sizes, with_indices = x.shape[2:], outputs > 1
    function = MAXIMA[len(sizes)]
    shifts = [0] * len(sizes)
    if _native(place):
        found: Any = function(
            x, place.kernel, place.strides, place.begins, place.dilations, ceil, with_indices
        )
    else:
        shifts, counts = place.begins, place.counts(sizes, ceil)
        x = pad(x, place.begins, place.overhang(sizes, ceil), -math.inf)
        found = function(
            x, place.kernel, place.strides, 0, place.dilations, False, with_indices
        )
        found = [_cut(each, counts) for each in found] if with_indices else _cut(found, counts)
    if not with_indices:
        values: Tensor = found
        return values
    return found[0], _flat(found[1], x.shape[2:], shifts, sizes, storage_order)


def _cut(found: Tensor, counts: Sequence[int]) -> Tensor:
    """Leave out windows that begin in the padding at the end."""
    for dimension, count in enumerate(counts, start=2):
        found = found.narrow(dimension, 0, count)
    return found


def _flat(
    indices: Tensor,
    padded: Sequence[int],
    shifts: Sequence[int],
    sizes: Sequence[int],
    storage_order: int,
) -> Tensor:
    """Turn places in a padded channel into places in the whole input."""
    places = torch.unravel_index(indices, tuple(padded))
    steps = [math.prod(sizes[dimension + 1 :]) for dimension in range(len(sizes))]
    if storage_order:
        steps = [math.prod(sizes[:dimension]) for dimension in range(len(sizes))]
    channels = torch.arange(indices.shape[0] * indices.shape[1], device=indices.device)
    flat = (channels * math.prod(sizes)).reshape(*indices.shape[:2], *[1] * len(sizes))
    for place, shift, step in zip(places, shifts, steps, strict=True):
        flat = flat + (place - shift) * step
    return flat


def _native(place: Window) -> bool:
    """Say whether torch takes the padding: at most half of the window, the same on both sides."""
    return place.even and all(
        2 * begin <= size for begin, size in zip(place.begins, place.kernel, strict=True)
    )


@operator("AveragePool")
def average_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Average each window's values."""
    sizes = x.shape[2:]
    place = _window(
        "AveragePool",
        sizes,
        kernel_shape,
        auto_pad=auto_pad,
        pads=pads,
        strides=strides,
        dilations=dilations,
    )
    ceil, padded = bool(ceil_mode), bool(count_include_pad)
    if _native(place) and max(place.dilations) == 1:
        function = MEANS[len(sizes)]
        return function(x, place.kernel, place.strides, place.begins, ceil, padded)
    ones = torch.ones(1, 1, *sizes, dtype=x.dtype, device=x.device)
    if padded:
        ones = pad(ones, place.begins, place.ends, 1.0)
        over = [
            more - end
            for more, end in zip(place.overhang(sizes, ceil), place.ends, strict=True)
        ]
        ones = pad(ones, [0] * len(sizes), over)
    else:
        ones = pad(ones, place.begins, place.overhang(sizes, ceil))
    whole = Window(
        place.kernel, place.strides, place.dilations, [0] * len(sizes), [0] * len(sizes)
    )
    counts = _sums(ones, whole, ceil=False).clamp(min=1)
    return _sums(x, place, ceil) / counts


def _sums(x: Tensor, place: Window, ceil: bool) -> Tensor:
    """Add up each window's values."""
    sizes = x.shape[2:]
    counts = place.counts(sizes, ceil)
    x = pad(x, place.begins, place.overhang(sizes, ceil))
    channels = x.reshape(-1, 1, *x.shape[2:])
    kernel = torch.ones(1, 1, *place.kernel, dtype=x.dtype, device=x.device)
    found = SUMS[len(sizes)](channels, kernel, None, place.strides, 0, place.dilations)
    return _cut(found.reshape(*x.shape[:2], *found.shape[2:]), counts)


@operator("LpPool")
def lp_pool(
    x: Tensor,
    *,
    kernel_shape: list[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    p: float = 2,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Take the norm of each window's values."""
    sizes = x.shape[2:]
    place = _window(
        "LpPool",
        sizes,
        kernel_shape or list(sizes),
        auto_pad=auto_pad,
        pads=pads,
        strides=strides,
        dilations=dilations,
    )
    return _root(_sums(x.abs() ** p, place, bool(ceil_mode)), p)


def _root(sums: Tensor, p: float) -> Tensor:
    """Take the root, with a slope of zero where all values are zero."""
    empty = sums == 0
    return torch.where(empty, 0.0, torch.where(empty, 1.0, sums) ** (1 / p)).to(sums.dtype)


@operator("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    """Average each channel."""
    return x.mean(list(range(2, x.dim())), keepdim=True) if x.dim() > 2 else x


@operator("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    """Take each channel's largest value; the first of equals gets the gradient."""
    if x.dim() < 3:
        return x
    if x.dim() in GLOBAL_MAXIMA:
        return GLOBAL_MAXIMA[x.dim()](x, 1)
    return x.flatten(2).max(2).values.reshape(*x.shape[:2], *[1] * (x.dim() - 2))


@operator("GlobalLpPool")
def global_lp_pool(x: Tensor, *, p: float = 2) -> Tensor:
    """Take the norm of each channel."""
    return _root((x.abs() ** p).sum(list(range(2, x.dim())), keepdim=True), p)


@operator("MaxUnpool")
def max_unpool(
    x: Tensor,
    indices: Tensor,
    output_shape: Tensor | None = None,
    *,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Put the values of a MaxPool back where they were, among zeros."""
    rank = check_rank("MaxUnpool", x.shape[2:])
    steps, cuts = strides or [1] * rank, pads or [0] * (2 * rank)
    shape = [
        *x.shape[:2],
        *[
            (x.shape[2 + at] - 1) * steps[at] + kernel_shape[at] - cuts[at] - cuts[rank + at]
            for at in range(rank)
        ],
    ]
    flat = torch.zeros(math.prod(shape), dtype=x.dtype, device=x.device)
    found = flat.index_put((indices.flatten().to(x.device),), x.flatten()).reshape(shape)
    if output_shape is None:
        return found
    ends = [
        wanted - size
        for wanted, size in zip(output_shape.tolist()[2:], shape[2:], strict=True)
    ]
    return pad(found, [0] * rank, ends)
