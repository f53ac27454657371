"""Uniform sparsity (Han et al. 2015, arXiv:1506.02626)."""

from collections.abc import Sequence

from onnxprune.allocations.candidate import Candidate
from onnxprune.allocations.shares import fill, round_to_total
from onnxprune.registry import allocation


@allocation("uniform")
def uniform(candidates: Sequence[Candidate], zeros: int) -> list[int]:
    """Give every tensor the same sparsity."""
    limits = [candidate.limit for candidate in candidates]
    sizes = [candidate.weight.size for candidate in candidates]
    return round_to_total(fill(sizes, [0] * len(sizes), limits, zeros), limits, zeros)
