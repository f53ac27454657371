"""OWL, outlier weighed layerwise sparsity (Yin et al. 2024, arXiv:2310.05175)."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from onnxprune.allocations.candidate import Candidate
from onnxprune.allocations.shares import clip_to_total, round_to_total
from onnxprune.registry import allocation
from onnxprune.types import Array


@allocation("owl")
def owl(
    candidates: Sequence[Candidate],
    zeros: int,
    *,
    input_norm: Mapping[str, Array],
    outlier: float = 5.0,
    spread: float = 0.08,
) -> list[int]:
    """Keep more of tensors that have many weights far above their mean, inputs considered."""
    sizes = [candidate.weight.size for candidate in candidates]
    limits = [candidate.limit for candidate in candidates]
    shares = [_outliers(each, input_norm[each.weight.path], outlier) for each in candidates]
    low, high = min(shares), max(shares)
    width = 2 * Fraction(spread) / (high - low) if high > low else Fraction(0)
    extra = [width * (share - low) for share in shares]
    total = sum(sizes)
    mean = sum((e * n for e, n in zip(extra, sizes, strict=True)), Fraction(0)) / total
    targets = [
        size * (Fraction(zeros, total) - each + mean)
        for size, each in zip(sizes, extra, strict=True)
    ]
    return round_to_total(clip_to_total(targets, sizes, limits, zeros), limits, zeros)


def _outliers(candidate: Candidate, norm: Array, factor: float) -> Fraction:
    """Return the share of a tensor that is so many times larger than its mean."""
    flat = np.concatenate(list(candidate.magnitudes.chunks())).astype(np.float64)
    size = candidate.weight.layout.matrix(flat) * norm
    return Fraction(int((size > factor * size.mean()).sum()), size.size)
