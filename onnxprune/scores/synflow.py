"""SynFlow (Tanaka et al. 2020, arXiv:2006.05467)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("synflow", steps=100)
def synflow(weight: Array, *, flow: Array) -> Array:
    """Keep what carries most of the flow through the net, step by step; needs no data."""
    share: Array = weight * flow
    return np.abs(share)
