"""Compares two masks layer by layer: ratios, and whether the same weights were kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxprune.errors import InputError
from onnxprune.masks import MaskFile
from onnxprune.types import Array


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """One tensor in both masks.

    Args:
        path: the tensor.
        size: its elements.
        first: the share that the first mask prunes; `second`: the second.
        overlap: kept by both over kept by either (1 where neither keeps any).
    """

    path: str
    size: int
    first: float
    second: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two masks beside each other.

    Args:
        layers: tensor by tensor.
        distance: the mean absolute difference of the ratios, weighted by size.
        largest: the largest such difference.
        spearman: rank correlation of the ratios, None where one has no spread.
        overlap: kept by both over kept by either, over all weights.
        chance: the overlap to expect of random masks with the same ratios.
    """

    layers: tuple[LayerComparison, ...]
    distance: float
    largest: float
    spearman: float | None
    overlap: float
    chance: float


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compare the masks of two mask files or pruned models.

    Args:
        first: a mask file or a model.
        second: another, of the same tensors.
    """
    with MaskFile(Path(first)) as one, MaskFile(Path(second)) as other:
        _check_same(one, other)
        layers = []
        both_total = either_total = 0
        chance_both = chance_either = 0.0
        for path in one:
            a, b = one.mask(path), other.mask(path)
            kept_a, kept_b = int(np.count_nonzero(a)), int(np.count_nonzero(b))
            both = int(np.count_nonzero(a & b))
            either = kept_a + kept_b - both
            both_total += both
            either_total += either
            by_chance = kept_a * kept_b / a.size if a.size else 0.0
            chance_both += by_chance
            chance_either += kept_a + kept_b - by_chance
            overlap = both / either if either else 1.0
            size = max(a.size, 1)
            layers.append(
                LayerComparison(path, a.size, 1 - kept_a / size, 1 - kept_b / size, overlap)
            )
    sizes = np.array([layer.size for layer in layers], float)
    left = np.array([layer.first for layer in layers])
    right = np.array([layer.second for layer in layers])
    gaps = np.abs(left - right)
    return Comparison(
        tuple(layers),
        float((sizes * gaps).sum() / max(sizes.sum(), 1)),
        float(gaps.max(initial=0.0)),
        spearman(left, right),
        both_total / either_total if either_total else 1.0,
        chance_both / chance_either if chance_either else 1.0,
    )


def spearman(left: Array, right: Array) -> float | None:
    """Return the correlation of two sequences' ranks, ties sharing their mean rank."""
    ranks = [_ranks(values) - (values.size - 1) / 2 for values in (left, right)]
    spread = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum() / spread) if spread else None


def _ranks(values: Array) -> Array:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    return np.asarray((first + (counts - 1) / 2)[places])


def _check_same(one: MaskFile, other: MaskFile) -> None:
    for path, shape in one.shapes.items():
        if path not in other.shapes:
            raise InputError(f"'{path}' is in {one.path} but not in {other.path}")
        if other.shapes[path] != shape:
            raise InputError(
                f"'{path}' has shape {list(shape)} in {one.path},"
                f" {list(other.shapes[path])} in {other.path}"
            )
    for path in other.shapes:
        if path not in one.shapes:
            raise InputError(f"'{path}' is in {other.path} but not in {one.path}")
