"""How a stored tensor is read as a matrix of outputs and inputs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor is read as an [outputs, inputs] matrix.

    Args:
        shape: the stored values' shape, refined so that `axes` can order it.
        outputs: the dimensions of `shape` that count outputs.
        kernel: those in between, such as a kernel's height and width.
        inputs: those that count input channels; they come last in the matrix.
    """

    shape: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...]
    inputs: tuple[int, ...]

    @property
    def axes(self) -> tuple[int, ...]:
        """The permutation of `shape` that puts outputs first and input channels last."""
        return self.outputs + self.kernel + self.inputs

    @property
    def output_count(self) -> int:
        """The number of outputs."""
        return _product(self.shape, self.outputs)

    @property
    def input_count(self) -> int:
        """The number of input channels, without the kernel."""
        return _product(self.shape, self.inputs)

    def matrix(self, flat: Array) -> Array:
        """Arrange stored values as the matrix."""
        ordered = flat.reshape(self.shape).transpose(self.axes)
        return ordered.reshape(self.output_count, -1)

    def flat(self, matrix: Array) -> Array:
        """Put a matrix back into the stored order."""
        ordered = matrix.reshape([self.shape[axis] for axis in self.axes])
        return ordered.transpose(np.argsort(self.axes)).reshape(-1)


def _product(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    product = 1
    for axis in axes:
        product *= shape[axis]
    return product
