"""Magnitude (Han et al. 2015, arXiv:1506.02626)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("magnitude", elementwise=True)
def magnitude(weight: Array) -> Array:
    """Keep the weights of largest absolute value."""
    return np.abs(weight)
