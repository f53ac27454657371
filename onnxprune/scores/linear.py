"""Linear loss model (loss modelling for unstructured pruning, arXiv:2006.12279)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("linear", steps=14, samples=1024)
def linear(weight: Array, *, gradient: Array, magnitude_penalty: float = 0.0) -> Array:
    """Keep what a linear model of the loss says changes it most."""
    change: Array = gradient * weight
    return np.asarray(np.abs(change) + magnitude_penalty / 2 * weight**2)
