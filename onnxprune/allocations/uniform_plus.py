"""Uniform+ (Gale et al. 2019, arXiv:1902.09574)."""

from collections.abc import Sequence
from fractions import Fraction

from onnxprune.allocations.candidate import Candidate, out_of_reach
from onnxprune.allocations.shares import fill, round_to_total
from onnxprune.registry import allocation

LAST_KEPT = Fraction(1, 5)
"""The share of the last tensor that stays."""


@allocation("uniform_plus")
def uniform_plus(candidates: Sequence[Candidate], zeros: int) -> list[int]:
    """Keep a first convolution dense and a fifth of the last tensor, the rest uniform."""
    sizes = [candidate.weight.size for candidate in candidates]
    limits = [candidate.limit for candidate in candidates]
    if len(candidates[0].weight.shape) == 4:
        limits[0] = 0
    body = sum(size for size, limit in zip(sizes, limits, strict=True) if limit)
    last = len(sizes) - 1
    kept = round(LAST_KEPT * sizes[last])
    share = Fraction(zeros, body) if body else Fraction(2)
    if limits[last] and round((1 - share) * sizes[last]) < kept:
        limits[last] = min(limits[last], sizes[last] - kept)
        # This tensor gives all that it may, whatever the others' share is.
        floors = [0] * last + [min(limits[last], zeros)]
    else:
        floors = [0] * len(sizes)
    targets = fill(sizes, floors, limits, min(zeros, sum(limits)))
    limits[last] = min(limits[last], sizes[last] - kept)
    if sum(limits) < zeros:
        raise out_of_reach("uniform_plus cannot reach the target", sum(limits), sum(sizes))
    return round_to_total(targets, limits, zeros)
