"""SNIP (Lee et al. 2019, arXiv:1810.02340)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("snip")
def snip(weight: Array, *, gradient: Array) -> Array:
    """Keep what changes the loss most if it is taken away."""
    change: Array = weight * gradient
    return np.abs(change)
