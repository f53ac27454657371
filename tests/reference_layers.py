"""Small layers, and masks one can read, for the tests of the reference."""

import numpy as np

from tests.reference import Layer, Masks


def make_layer(name: str, values: object, shape: tuple[int, ...] | None = None) -> Layer:
    """Build a layer from its magnitudes, taken as [out, in, ...]."""
    magnitude = np.array(values, dtype=np.float64)
    magnitude = magnitude.reshape(shape or magnitude.shape)
    inputs = magnitude.shape[1] if magnitude.ndim > 1 else 1
    return Layer(name, magnitude, n_out=magnitude.shape[0], n_in=inputs)


def some_layers(seed: int) -> list[Layer]:
    """Build a convolution and three other layers, 58 weights on different scales."""
    rng = np.random.default_rng(seed)
    shapes = [(2, 1, 2, 2), (5, 4), (3, 2, 1), (4, 6)]
    return [
        make_layer(f"w{i}", rng.normal(size=shape) ** 2 * 10.0 ** rng.integers(-2, 2))
        for i, shape in enumerate(shapes)
    ]


def as_text(masks: Masks) -> list[str]:
    """Write each mask in C order, # for kept and . for pruned."""
    return ["".join(".#"[int(kept)] for kept in mask.ravel()) for mask in masks]
