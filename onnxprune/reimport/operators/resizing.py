"""Resampling of images and what moves values between channels and space."""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.operators.positions import (
    Manner,
    Stretch,
    check,
    coordinates,
    nearest_places,
    weights,
)
from onnxprune.reimport.registry import operator
from onnxprune.types import Array

LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@operator("Resize")
def resize(
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    antialias: int = 0,
    axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    opset: int,
) -> Tensor:
    """Resample dimensions to other sizes."""
    if opset < 11:
        y: Tensor = upsample(x, roi, mode=mode)  # the second input is the scales
        return y
    chosen = [axis % x.dim() for axis in axes or range(x.dim())]
    if scales is not None and scales.numel():
        stretches = _by_scales([x.shape[axis] for axis in chosen], scales.tolist())
    elif sizes is not None:
        lengths = [x.shape[axis] for axis in chosen]
        stretches = _by_sizes(lengths, sizes.tolist(), keep_aspect_ratio_policy)
    else:
        raise UnsupportedError("Resize has neither scales nor sizes")
    manner = Manner(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        bool(antialias),
    )
    cropped = coordinate_transformation_mode == "tf_crop_and_resize"
    if cropped and roi is not None:
        stretches = _regions(stretches, roi.tolist())
    return _resample(x, dict(zip(chosen, stretches, strict=True)), manner, extrapolation_value)


@operator("Upsample")
def upsample(
    x: Tensor,
    factors: Tensor | None = None,
    *,
    height_scale: float | None = None,
    mode: str = "nearest",
    scales: list[float] | None = None,
    width_scale: float | None = None,
) -> Tensor:
    """Resample dimensions by factors, from the first value on."""
    if factors is not None:
        scales = factors.tolist()
    elif scales is None:
        if height_scale is None or width_scale is None:
            raise UnsupportedError("Upsample has no scales")
        scales = [1.0, 1.0, height_scale, width_scale]
    mode = "linear" if mode in ("bilinear", "trilinear") else mode
    stretches = dict(enumerate(_by_scales(list(x.shape), scales)))
    return _resample(x, stretches, Manner(mode, "asymmetric", "simple"), 0.0)


def _by_scales(lengths: list[int], scales: list[float]) -> list[Stretch]:
    return [
        Stretch(size, math.floor(np.float32(size) * np.float32(scale)), scale)
        for size, scale in zip(lengths, scales, strict=True)
    ]


def _by_sizes(lengths: list[int], sizes: list[int], policy: str) -> list[Stretch]:
    ratios = [target / size for size, target in zip(lengths, sizes, strict=True)]
    if policy == "stretch":
        return [
            Stretch(size, target, ratio)
            for size, target, ratio in zip(lengths, sizes, ratios, strict=True)
        ]
    if policy not in ("not_larger", "not_smaller"):
        raise UnsupportedError(f"Resize has no keep_aspect_ratio_policy '{policy}'")
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [Stretch(size, math.floor(scale * size + 0.5), scale) for size in lengths]


def _regions(stretches: list[Stretch], roi: list[float]) -> list[Stretch]:
    count = len(stretches)
    return [
        Stretch(each.size, each.target, each.scale, start, end)
        for each, start, end in zip(stretches, roi[:count], roi[count:], strict=True)
    ]


def _resample(
    x: Tensor, stretches: dict[int, Stretch], manner: Manner, outside: float
) -> Tensor:
    if manner.mode not in ("nearest", "linear", "cubic"):
        raise UnsupportedError(f"Resize has no mode '{manner.mode}'")
    if manner.mode != "nearest" and not x.is_floating_point():
        raise UnsupportedError(f"Resize of whole numbers by mode {manner.mode}")
    moved = {
        axis: each
        for axis, each in stretches.items()
        if each != Stretch(each.size, each.size, 1.0)
    }
    if not moved:
        return x
    for each in moved.values():
        check(each, manner)
    native = _native(x, moved, manner)
    if native is not None:
        return native
    for axis, stretch in moved.items():
        x = _along(x, axis, stretch, manner, outside)
    return x


def _native(x: Tensor, moved: dict[int, Stretch], manner: Manner) -> Tensor | None:
    """Resample by torch's own function, where it means the same."""
    exact = all(each.whole for each in moved.values())
    plain = not (manner.antialias or manner.exclude) and x.is_floating_point()
    if not (exact and plain and min(moved) >= 2 and x.dim() in LINEAR):
        return None
    size = [
        moved[axis].target if axis in moved else x.shape[axis] for axis in range(2, x.dim())
    ]
    if manner.mode == "nearest":
        factors = all(each.scale.is_integer() for each in moved.values())
        if not factors or not _repeats(manner):
            return None
        return F.interpolate(x, size, mode="nearest")
    aligned = manner.transform == "align_corners"
    halves = manner.transform == "half_pixel" or (
        manner.transform == "pytorch_half_pixel" and min(size) > 1
    )
    if not (aligned or halves):
        return None
    if manner.mode == "linear":
        return F.interpolate(x, size, mode=LINEAR[x.dim()], align_corners=aligned)
    if x.dim() == 4 and manner.slope == -0.75:
        return F.interpolate(x, size, mode="bicubic", align_corners=aligned)
    return None


def _repeats(manner: Manner) -> bool:
    """Say whether nearest values at whole factors are each value repeated."""
    if manner.transform == "asymmetric":
        return manner.nearest in ("floor", "simple")
    halves = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
    return manner.transform in halves and manner.nearest.startswith("round")


def _along(x: Tensor, axis: int, stretch: Stretch, manner: Manner, outside: float) -> Tensor:
    """Resample one dimension."""
    table, missing = _table(stretch, manner)
    if manner.mode == "nearest":
        y = x.index_select(axis, torch.from_numpy(table).to(x.device))
    else:
        matrix = torch.from_numpy(table).to(x.device, x.dtype)
        y = torch.matmul(x.movedim(axis, -1), matrix.t()).movedim(-1, axis)
    if missing is None:
        return y
    shape = [-1 if dimension == axis else 1 for dimension in range(x.dim())]
    return y.masked_fill(torch.from_numpy(missing).to(x.device).reshape(shape), outside)


@lru_cache(maxsize=256)
def _table(stretch: Stretch, manner: Manner) -> tuple[Array, Array | None]:
    """Return where values come from, and which lie outside of the input, if any."""
    places = coordinates(stretch, manner.transform)
    missing = None
    if manner.transform == "tf_crop_and_resize":
        missing = (places < 0) | (places > stretch.size - 1)
    if manner.mode == "nearest":
        return nearest_places(places, stretch, manner.nearest), missing
    return weights(places, stretch, manner), missing


@operator("GridSample")
def grid_sample(
    x: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:
    """Take values at the places that a grid names."""
    names = {"linear": "bilinear", "cubic": "bicubic"}
    chosen = names.get(mode, mode)
    if x.dim() not in (4, 5) or (x.dim() == 5 and chosen == "bicubic"):
        raise UnsupportedError(
            f"GridSample by mode {mode} over {x.dim() - 2} dimensions "
            "cannot be computed with gradients"
        )
    return F.grid_sample(x, grid, chosen, padding_mode, bool(align_corners))


@operator("AffineGrid")
def affine_grid(theta: Tensor, size: Tensor, *, align_corners: int = 0) -> Tensor:
    """Lay out the grid of an affine map."""
    return F.affine_grid(theta, size.tolist(), bool(align_corners))


@operator("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Turn channels into blocks of space."""
    if mode == "CRD":
        return F.pixel_shuffle(x, blocksize)
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, blocksize, blocksize, -1, height, width)
    ordered = blocks.permute(0, 3, 4, 1, 5, 2)
    left = channels // blocksize**2
    return ordered.reshape(batch, left, height * blocksize, width * blocksize)


@operator("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Turn blocks of space into channels."""
    if mode == "CRD":
        return F.pixel_unshuffle(x, blocksize)
    batch, channels, height, width = x.shape
    rows, columns = height // blocksize, width // blocksize
    blocks = x.reshape(batch, channels, rows, blocksize, columns, blocksize)
    ordered = blocks.permute(0, 3, 5, 1, 2, 4)
    return ordered.reshape(batch, channels * blocksize**2, rows, columns)
