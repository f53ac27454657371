"""Relative importance and activations, RIA (Zhang et al. 2024, Plug-and-Play at ICLR)."""

import numpy as np

from onnxprune.registry import method
from onnxprune.types import Array


@method("ria", allocation="uniform", samples=256, group="row")
def ria(weight: Array, *, input_norm: Array, power: float = 0.5) -> Array:
    """Keep what is large beside its row and its column, where its inputs are large."""
    size = np.abs(weight)
    share = _shares(size, 0) + _shares(size, 1)
    return np.asarray(share * input_norm**power)


def _shares(size: Array, axis: int) -> Array:
    """Return each value over the sum along an axis; nothing has no share of nothing."""
    total = size.sum(axis, keepdims=True)
    shares: Array = np.divide(size, total, out=np.zeros_like(size), where=total > 0)
    return shares
