"""Convolutions whose taps are moved by offsets, by sampling the input where they land."""

import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.operators.windows import Window, window
from onnxprune.reimport.registry import operator


@operator("DeformConv")
def deformable_conv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    offset_group: int = 1,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Slide a kernel whose taps are moved, and weighted by a mask, at every place."""
    shape = list(w.shape[2:])
    if x.dim() != 4 or kernel_shape not in (None, shape):
        raise UnsupportedError(
            "DeformConv is only computed over two dimensions, kernel as stored"
        )
    place = window(
        "DeformConv", x.shape[2:], shape, pads=pads, strides=strides, dilations=dilations
    )
    batch, taps = x.shape[0], shape[0] * shape[1]
    rows, columns = offset.shape[2:]
    moved = offset.reshape(batch * offset_group, taps, 2, rows, columns)
    grid = _grid(moved, place, x)
    groups = x.reshape(batch * offset_group, -1, *x.shape[2:])
    found = F.grid_sample(groups, grid.flatten(1, 2), "bilinear", "zeros", align_corners=False)
    found = found.reshape(batch * offset_group, -1, taps, rows, columns)
    if mask is not None:
        found = found * mask.reshape(batch * offset_group, 1, taps, rows, columns)
    values = found.reshape(batch, group, -1, rows * columns)
    y = torch.matmul(w.reshape(group, w.shape[0] // group, -1), values)
    y = y.reshape(batch, -1, rows, columns)
    return y if b is None else y + b.reshape(-1, 1, 1)


def _grid(offsets: Tensor, place: Window, x: Tensor) -> Tensor:
    """Return where taps land, as shares of the input: [batch, taps, rows, columns, (x, y)]."""
    reach = [
        torch.arange(size, dtype=x.dtype, device=x.device) * step
        for size, step in zip(place.kernel, place.dilations, strict=True)
    ]
    tap = torch.cartesian_prod(*reach).reshape(1, -1, 2, 1, 1)
    corners = [
        torch.arange(count, dtype=x.dtype, device=x.device) * step - begin
        for count, step, begin in zip(
            offsets.shape[-2:], place.strides, place.begins, strict=True
        )
    ]
    start = torch.stack(torch.meshgrid(corners, indexing="ij"))
    height, width = x.shape[2:]
    landed = start + tap + offsets
    vertical = (2 * landed[:, :, 0] + 1) / height - 1
    horizontal = (2 * landed[:, :, 1] + 1) / width - 1
    return torch.stack([horizontal, vertical], -1)
