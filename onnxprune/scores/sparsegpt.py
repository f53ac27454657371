"""SparseGPT (Frantar and Alistarh 2023, arXiv:2301.00774)."""

import numpy as np

from onnxprune.least_squares import Gram, prune_blocks
from onnxprune.registry import method
from onnxprune.types import Array


@method("sparsegpt", allocation="uniform", samples=256)
def sparsegpt(
    weight: Array, *, gram: Gram, zeros: int, block: int = 128, damp: float = 0.01
) -> Array:
    """Keep what the other weights cannot make up for, found column by column."""
    kept, cost = prune_blocks(weight, gram, zeros, block, damp)
    # What fell lies below what stays, whatever it cost.
    return np.where(kept, cost, cost - cost.max() - 1)
