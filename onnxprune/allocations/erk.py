"""Erdos-Renyi-Kernel (Evci et al. 2020, arXiv:1911.11134)."""

from collections.abc import Sequence
from fractions import Fraction

from onnxprune.allocations.candidate import Candidate
from onnxprune.allocations.shares import fill, round_to_total
from onnxprune.registry import allocation


@allocation("erk")
def erk(candidates: Sequence[Candidate], zeros: int, *, power: float = 1.0) -> list[int]:
    """Keep weights in proportion to the sum of a tensor's dimensions, kernel included."""
    ratios = [
        Fraction(sum(candidate.weight.shape), candidate.weight.size)
        for candidate in candidates
    ]
    return by_density(candidates, zeros, ratios, power)


def by_density(
    candidates: Sequence[Candidate], zeros: int, ratios: Sequence[Fraction], power: float
) -> list[int]:
    """Keep in each tensor a density in proportion to its ratio, one where that is exceeded."""
    sizes = [candidate.weight.size for candidate in candidates]
    limits = [candidate.limit for candidate in candidates]
    shares = [
        size * (ratio if power == 1 else Fraction(float(ratio) ** power))
        for size, ratio in zip(sizes, ratios, strict=True)
    ]
    floors = [size - limit for size, limit in zip(sizes, limits, strict=True)]
    kept = fill(shares, floors, sizes, sum(sizes) - zeros)
    targets = [size - share for size, share in zip(sizes, kept, strict=True)]
    return round_to_total(targets, limits, zeros)
