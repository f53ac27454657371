"""Iterative SNIP (de Jorge et al. 2021, arXiv:2006.09081)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("iterative_snip", steps=60)
def iterative_snip(weight: Array, *, gradient: Array) -> Array:
    """Take SNIP's score again and again, of what is left."""
    change: Array = weight * gradient
    return np.abs(change)
