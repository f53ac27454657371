"""Quadratic loss model (loss modelling for unstructured pruning, arXiv:2006.12279)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("quadratic", steps=14, samples=1024)
def quadratic(
    weight: Array, *, gradient: Array, curvature: Array, magnitude_penalty: float = 0.0
) -> Array:
    """Keep what a quadratic model of the loss, gradient included, says changes it most."""
    change: Array = 0.5 * curvature * weight**2 - gradient * weight
    return np.asarray(np.abs(change) + magnitude_penalty / 2 * weight**2)
