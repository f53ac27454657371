"""SparseGPT (Frantar and Alistarh 2023, arXiv:2301.00774)."""

import numpy as np

from onnxprune.least_squares import Gram, prune_blocks, prune_groups
from onnxprune.patterns.pattern import Groups, Pattern
from onnxprune.registry import method
from onnxprune.types import Array


@method("sparsegpt", allocation="uniform", samples=256)
def sparsegpt(  # noqa: PLR0913 - what it asks for, and its own options
    weight: Array,
    *,
    gram: Gram,
    zeros: int,
    pattern: Pattern,
    block: int = 128,
    damp: float = 0.01,
) -> Array:
    """Keep what the other weights cannot make up for, found column by column."""
    if isinstance(pattern, Groups):
        kept, cost = prune_groups(weight, gram, pattern.n, pattern.m, damp)
    else:
        kept, cost = prune_blocks(weight, gram, zeros, block, damp)
    # What fell lies below what stays, whatever it cost.
    return np.where(kept, cost, cost - cost.max() - 1)
