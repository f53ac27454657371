"""Iterative GraSP (de Jorge et al. 2021, arXiv:2006.09081)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("grasp_it", steps=60)
def grasp_it(weight: Array, *, gradient: Array) -> Array:
    """Keep where the squared gradient is largest, step by step."""
    return np.square(gradient)
