"""FORCE (de Jorge et al. 2021, arXiv:2006.09081)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("force", steps=60, regrow=True)
def force(weight: Array, *, gradient: Array) -> Array:
    """Take SNIP's score again and again, of all weights: what fell may return."""
    change: Array = weight * gradient
    return np.abs(change)
