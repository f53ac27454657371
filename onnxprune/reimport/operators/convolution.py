"""Convolutions and what undoes them, over one to three dimensions."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.operators.windows import (
    check_automatic,
    check_rank,
    pad,
    spans,
    window,
)
from onnxprune.reimport.registry import operator

FORWARD: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
BACKWARD: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


@operator("Conv")
def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Slide a kernel over the input."""
    shape = list(w.shape[2:])
    if kernel_shape is not None and kernel_shape != shape:
        raise UnsupportedError(
            f"Conv has a kernel of {shape}; kernel_shape says {kernel_shape}"
        )
    place = window(
        "Conv",
        x.shape[2:],
        shape,
        auto_pad=auto_pad,
        pads=pads,
        strides=strides,
        dilations=dilations,
    )
    padding: Any = place.begins
    if not place.even:
        x, padding = pad(x, place.begins, place.ends), 0
    function = FORWARD[x.dim() - 2]
    return function(x, w, b, place.strides, padding, place.dilations, group)


@operator("ConvTranspose")
def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Spread each value over a kernel's reach; `pads` cut the result."""
    rank = check_rank("ConvTranspose", x.shape[2:])
    check_automatic("ConvTranspose", auto_pad)
    shape = list(w.shape[2:])
    if kernel_shape is not None and kernel_shape != shape:
        raise UnsupportedError(
            f"ConvTranspose has a kernel of {shape}; kernel_shape says {kernel_shape}"
        )
    steps, gaps = strides or [1] * rank, dilations or [1] * rank
    extra = output_padding or [0] * rank
    full = [
        (size - 1) * step + span
        for size, step, span in zip(x.shape[2:], steps, spans(shape, gaps), strict=True)
    ]
    if output_shape is None and auto_pad.startswith("SAME"):
        output_shape = [size * step for size, step in zip(x.shape[2:], steps, strict=True)]
        if any(size < wanted for size, wanted in zip(full, output_shape, strict=True)):
            raise UnsupportedError(
                f"ConvTranspose with auto_pad {auto_pad} and a kernel shorter than its strides "
                "means different things to different runtimes"
            )
    if output_shape is not None:
        begins, ends = _cuts(full, extra, output_shape[-rank:], auto_pad)
    else:
        both = pads if pads and auto_pad == "NOTSET" else [0] * (2 * rank)
        begins, ends = both[:rank], both[rank:]
    ends = [end - more for end, more in zip(ends, extra, strict=True)]
    return _spread(x, w, b, steps, gaps, group, begins, ends)


def _cuts(
    full: Sequence[int], extra: Sequence[int], wanted: Sequence[int], auto_pad: str
) -> tuple[list[int], list[int]]:
    """Divide what is too much between both sides."""
    totals = [
        max(size + more - target, 0)
        for size, more, target in zip(full, extra, wanted, strict=True)
    ]
    small, large = [each // 2 for each in totals], [each - each // 2 for each in totals]
    begins, ends = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    # What is missing is added at the end.
    ends = [
        end - max(target - size - more, 0)
        for end, size, more, target in zip(ends, full, extra, wanted, strict=True)
    ]
    return begins, ends


def _spread(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    strides: Sequence[int],
    dilations: Sequence[int],
    group: int,
    begins: Sequence[int],
    ends: Sequence[int],
) -> Tensor:
    """Compute the transposed convolution; torch pads both sides alike and little at the end."""
    function = BACKWARD[x.dim() - 2]
    extra = [begin - end for begin, end in zip(begins, ends, strict=True)]
    fits = [
        0 <= more < max(step, gap) and begin >= 0
        for more, step, gap, begin in zip(extra, strides, dilations, begins, strict=True)
    ]
    if all(fits):
        return function(x, w, b, list(strides), list(begins), extra, group, list(dilations))
    y = function(x, w, None, list(strides), 0, 0, group, list(dilations))
    y = pad(y, [-begin for begin in begins], [-end for end in ends])
    return y if b is None else y + b.reshape(-1, *[1] * (x.dim() - 2))


@operator("Col2Im")
def col2im(
    x: Tensor,
    image_shape: Tensor,
    block_shape: Tensor,
    *,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Add up blocks where they lie in an image."""
    image, block = image_shape.tolist(), block_shape.tolist()
    place = window("Col2Im", image, block, pads=pads, strides=strides, dilations=dilations)
    taps = torch.Size(block).numel()
    counts = place.counts(image, ceil=False)
    channels = x.shape[1] // taps
    # A transposed convolution whose kernel puts each row of a column in its own place.
    kernel = torch.eye(taps, dtype=x.dtype, device=x.device).reshape(taps, 1, *block)
    full = [
        (count - 1) * step + span
        for count, step, span in zip(counts, place.strides, place.spans, strict=True)
    ]
    ends = [
        size - (target + begin)
        for size, target, begin in zip(full, image, place.begins, strict=True)
    ]
    return _spread(
        x.reshape(x.shape[0], -1, *counts),
        kernel.repeat(channels, 1, *[1] * len(block)),
        None,
        place.strides,
        place.dilations,
        channels,
        place.begins,
        ends,
    )
