"""Where the values of a resized dimension come from; knows numbers only, no tensors of a model."""

import math
from dataclasses import dataclass

import numpy as np

from onnxprune.errors import UnsupportedError
from onnxprune.types import Array


@dataclass(frozen=True, slots=True)
class Stretch:
    """How one dimension is resized.

    Args:
        size: values before; `target`: after.
        scale: between both, which need not be their quotient.
        start: of the region in use, as a share of the dimension; `end`: its end.
    """

    size: int
    target: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def whole(self) -> bool:
        """Whether the scale leads to the size after it without rounding."""
        return math.isclose(self.size * self.scale, self.target, rel_tol=1e-6)


@dataclass(frozen=True, slots=True)
class Manner:
    """What the attributes of Resize say of values in between.

    Args:
        mode: nearest, linear or cubic.
        transform: the rule from new to old coordinates.
        nearest: how a coordinate is rounded.
        slope: of the cubic kernel, cubic_coeff_a.
        exclude: whether values outside weigh nothing; else the edge is repeated.
        antialias: whether the kernel is widened when there are fewer values than before.
    """

    mode: str
    transform: str
    nearest: str = "round_prefer_floor"
    slope: float = -0.75
    exclude: bool = False
    antialias: bool = False


def coordinates(stretch: Stretch, transform: str) -> Array:
    """Return the old coordinate of each new value, in single precision as runtimes do."""
    single = np.float32
    new = np.arange(stretch.target, dtype=single)
    scale, size, target = single(stretch.scale), stretch.size, stretch.target
    centred: Array = (new + single(0.5)) / scale - single(0.5)
    if transform == "asymmetric":
        return new / scale
    if transform == "half_pixel":
        return centred
    if transform == "pytorch_half_pixel":
        return centred if target > 1 else np.zeros_like(new)
    if transform == "tf_half_pixel_for_nn":
        return (new + single(0.5)) / scale
    if transform == "align_corners":
        return (
            new * single(size - 1) / single(target - 1) if target > 1 else np.zeros_like(new)
        )
    if transform == "half_pixel_symmetric":
        whole = single(target) / (scale * single(size))
        offset = single(size / 2) * (single(1) - whole)
        return offset + (new + single(0.5)) / scale - single(0.5)
    if transform == "tf_crop_and_resize":
        start, reach = single(stretch.start), single(stretch.end - stretch.start)
        last = single(size - 1)
        if target > 1:
            return start * last + new * reach * last / single(target - 1)
        return np.full_like(new, 0.5 * (stretch.start + stretch.end)) * last
    raise UnsupportedError(f"Resize has no coordinate_transformation_mode '{transform}'")


def nearest_places(places: Array, stretch: Stretch, how: str) -> Array:
    """Round coordinates to the values that are there."""
    if how == "simple":  # what versions before 11 do without saying so
        found = np.ceil(places) if stretch.scale < 1 else np.floor(places)
    elif how == "round_prefer_floor":
        found = np.ceil(places - np.float32(0.5))
    elif how == "round_prefer_ceil":
        found = np.floor(places + np.float32(0.5))
    elif how in ("floor", "ceil"):
        found = np.floor(places) if how == "floor" else np.ceil(places)
    else:
        raise UnsupportedError(f"Resize has no nearest_mode '{how}'")
    whole: Array = found.astype(np.int64).clip(0, stretch.size - 1)
    return whole


def check(stretch: Stretch, manner: Manner) -> None:
    """Refuse what runtimes compute differently from each other."""
    odd = None
    if manner.transform == "align_corners" and not stretch.whole:
        odd = "with aligned corners"
    if manner.antialias and stretch.size == stretch.target:
        odd = "with antialias"
    if manner.transform == "tf_crop_and_resize":
        cropped = (stretch.start, stretch.end) != (0.0, 1.0)
        if manner.antialias or (cropped and stretch.size == stretch.target):
            odd = "from a region"
    if odd is not None:
        raise UnsupportedError(
            f"Resize of {stretch.size} values to {stretch.target} {odd} "
            "means different things to different runtimes"
        )


def weights(places: Array, stretch: Stretch, manner: Manner) -> Array:
    """Return how much of each old value goes into each new one, as a matrix [new, old]."""
    shrink = min(stretch.scale, 1.0) if manner.antialias else 1.0
    reach = (1.0 if manner.mode == "linear" else 2.0) / shrink
    taps = np.arange(math.floor(-reach) + 1, math.ceil(reach) + 1)
    exact = places.astype(np.float64)
    if manner.mode == "linear" and not manner.antialias:
        exact = exact.clip(0, stretch.size - 1)
    floors = np.floor(exact).astype(np.int64)
    old = floors[:, None] + taps
    distances = np.abs(old - exact[:, None]) * shrink
    shares = _linear(distances) if manner.mode == "linear" else _cubic(distances, manner.slope)
    if manner.exclude:
        shares = shares * ((old >= 0) & (old < stretch.size))
    if manner.exclude or manner.antialias:
        shares = shares / shares.sum(1, keepdims=True)
    matrix = np.zeros((len(places), stretch.size))
    rows = np.broadcast_to(np.arange(len(places))[:, None], old.shape)
    np.add.at(matrix, (rows, old.clip(0, stretch.size - 1)), shares)
    return matrix


def _linear(distances: Array) -> Array:
    shares: Array = np.maximum(1 - distances, 0)
    return shares


def _cubic(distances: Array, slope: float) -> Array:
    near = ((slope + 2) * distances - (slope + 3)) * distances**2 + 1
    far = ((distances - 5) * distances + 8) * distances - 4
    shares: Array = np.where(distances <= 1, near, np.where(distances < 2, slope * far, 0.0))
    return shares
