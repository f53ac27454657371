"""Random scores (the baseline every method has to beat)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("random", elementwise=True)
def random(weight: Array, *, rng: np.random.Generator) -> Array:
    """Keep weights drawn at random, the same ones for the same seed."""
    return rng.random(weight.size).reshape(weight.shape)
