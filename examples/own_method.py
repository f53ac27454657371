"""Magnitude relative to the output's mean (an example of a method of one's own)."""

import numpy as np

from onnxprune import method


@method("own_method")
def own_method(weight: np.ndarray, *, smooth: float = 1e-12) -> np.ndarray:
    """Keep the weights that are large beside the others of their output."""
    size = np.abs(weight)
    return size / (size.mean(axis=1, keepdims=True) + smooth)
