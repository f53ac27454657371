"""Global magnitude with a minimum threshold (Gupta et al. 2022, arXiv:2209.14624)."""

from collections.abc import Sequence

from onnxprune.allocations.candidate import Candidate, out_of_reach
from onnxprune.allocations.global_ import Plain
from onnxprune.allocations.lowest import lowest
from onnxprune.allocations.shares import fill, round_to_total
from onnxprune.errors import UsageError
from onnxprune.registry import allocation

MODES = ("protect", "rescale")


@allocation("min_threshold", aliases=("mt",))
def min_threshold(
    candidates: Sequence[Candidate], zeros: int, *, sigma: str = "0.05%", mode: str = "protect"
) -> list[int]:
    """Prune globally, but keep at least a fixed number of weights in every tensor."""
    if mode not in MODES:
        raise UsageError(f"unknown mode '{mode}' of min_threshold; choose protect or rescale")
    sizes = [candidate.weight.size for candidate in candidates]
    kept = count(str(sigma), sum(sizes))
    limits = [
        min(candidate.limit, max(0, candidate.weight.size - kept)) for candidate in candidates
    ]
    if sum(limits) < zeros:
        raise out_of_reach(
            f"keeping {kept:,} weights in every tensor", sum(limits), sum(sizes)
        )
    rankings = [candidate.scores for candidate in candidates]
    if mode == "protect":
        return lowest(rankings, limits, zeros, Plain())
    caps = [candidate.limit for candidate in candidates]
    plain = lowest(rankings, caps, zeros, Plain())
    shares = [0 if size < kept else share for share, size in zip(plain, sizes, strict=True)]
    reach = sum(limit for limit, share in zip(limits, shares, strict=True) if share)
    if reach < zeros:
        raise out_of_reach("rescaling the ratios of global pruning", reach, sum(sizes))
    return round_to_total(fill(shares, [0] * len(shares), limits, zeros), limits, zeros)


def count(sigma: str, total: int) -> int:
    """Read a number of weights, or a percentage of all prunable ones."""
    try:
        share = sigma.endswith("%")
        kept = int(total * float(sigma[:-1]) / 100) if share else int(sigma)
    except ValueError:
        raise UsageError(f"sigma is a count or a percentage, not '{sigma}'") from None
    if kept < 0:
        raise UsageError(f"sigma must not be negative, got {sigma}")
    return kept
