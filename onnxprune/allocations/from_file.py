"""Ratios of another model (layerwise pruning ratios, find/eval decoupling)."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from onnxprune.allocations.candidate import Candidate, out_of_reach
from onnxprune.allocations.curves import Curves
from onnxprune.allocations.shares import fill, round_to_total
from onnxprune.errors import UsageError
from onnxprune.registry import allocation


@allocation("from", aliases=("from_file",))
def from_file(
    candidates: Sequence[Candidate], zeros: int, *, ratios: Mapping[str, Fraction] | Curves
) -> list[int]:
    """Take each tensor's sparsity from another model, report, mask or sensitivity file."""
    missing = [c.weight.path for c in candidates if c.weight.path not in ratios]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UsageError(
            f"the file of ratios says nothing of '{missing[0]}'{more}",
            "it must come from a model with the same tensors; --include narrows the choice",
        )
    if isinstance(ratios, Curves):
        ratios = ratios.ratios({c.weight.path: c.weight.size for c in candidates}, zeros)
    limits = [candidate.limit for candidate in candidates]
    shares = [ratios[c.weight.path] * c.weight.size for c in candidates]
    reach = sum(limit for limit, share in zip(limits, shares, strict=True) if share)
    if reach < zeros:
        total = sum(candidate.weight.size for candidate in candidates)
        raise out_of_reach("scaling these ratios", reach, total)
    return round_to_total(fill(shares, [0] * len(shares), limits, zeros), limits, zeros)
