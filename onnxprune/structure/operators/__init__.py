"""How channels go through operators: one file per family, one function per operator."""

from onnxprune.structure.operators import (
    convolution,
    elementwise,
    normalisation,
    numbers,
    pieces,
    pooling,
    products,
    reductions,
    shapes,
)

FAMILIES = (
    convolution,
    elementwise,
    normalisation,
    numbers,
    pieces,
    pooling,
    products,
    reductions,
    shapes,
)
