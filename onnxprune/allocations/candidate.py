"""What an allocation may know of a tensor."""

from dataclasses import dataclass

from onnxprune.errors import TargetError
from onnxprune.selection import Ranking
from onnxprune.types import Weight


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A tensor that takes part, in graph order.

    Args:
        weight: the tensor.
        scores: the method's ranking of its weights.
        magnitudes: the ranking by magnitude (the same object where the method is that).
        limit: how many of its weights may go at most.
    """

    weight: Weight
    scores: Ranking
    magnitudes: Ranking
    limit: int


def out_of_reach(what: str, largest: int, total: int) -> TargetError:
    """Say that a target cannot be met, and which one can."""
    feasible = int(largest / total * 10000) / 10000 if total else 0.0
    return TargetError(
        f"{what}: at most {largest:,} of {total:,} weights can go",
        f"the largest feasible sparsity is {feasible:.4f}",
    )
