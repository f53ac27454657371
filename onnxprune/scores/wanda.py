"""Wanda (Sun et al. 2024, arXiv:2306.11695)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("wanda", allocation="uniform", samples=256, group="row")
def wanda(weight: Array, *, input_norm: Array) -> Array:
    """Keep, for each output, what is large where its inputs are."""
    size: Array = np.abs(weight)
    return size * input_norm
