"""Optimal brain damage, on the Gauss-Newton diagonal (loss modelling for unstructured pruning, arXiv:2006.12279)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("obd", steps=14, samples=1024)
def obd(weight: Array, *, curvature: Array, magnitude_penalty: float = 0.0) -> Array:
    """Keep what the loss is most curved in."""
    change: Array = 0.5 * curvature * weight**2
    return np.asarray(np.abs(change) + magnitude_penalty / 2 * weight**2)
