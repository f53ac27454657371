"""A tensor's matrix cut into units of one size: groups of inputs, blocks, or whole filters."""

from dataclasses import dataclass

from onnxprune.patterns.pattern import Blocks, Filters, Groups
from onnxprune.types import Array, Layout


@dataclass(frozen=True, slots=True)
class Tiling:
    """Units of so many outputs, places of the kernel and input channels.

    Args:
        layout: how the tensor is read as a matrix.
        rows: outputs of a unit.
        kernel: places of the kernel; 1 or all of them.
        columns: input channels.
    """

    layout: Layout
    rows: int
    kernel: int
    columns: int

    @property
    def size(self) -> int:
        """The weights of one unit."""
        return self.rows * self.kernel * self.columns

    @property
    def count(self) -> int:
        """The number of units."""
        inner = self.layout.input_count * kernel_size(self.layout)
        return self.layout.output_count * inner // self.size

    def table(self, flat: Array) -> Array:
        """Arrange stored values so that each row holds a unit, by its place in the matrix."""
        cut = self.layout.matrix(flat).reshape(self._cut())
        return cut.transpose(0, 2, 4, 1, 3, 5).reshape(self.count, self.size)

    def flat(self, table: Array) -> Array:
        """Put a table back into the stored order."""
        outer, rows, places, kernel, across, columns = self._cut()
        cut = table.reshape(outer, places, across, rows, kernel, columns)
        matrix = cut.transpose(0, 3, 1, 4, 2, 5).reshape(self.layout.output_count, -1)
        return self.layout.flat(matrix)

    def _cut(self) -> tuple[int, ...]:
        outputs, inputs = self.layout.output_count, self.layout.input_count
        places = kernel_size(self.layout) // self.kernel
        return (
            *(outputs // self.rows, self.rows),
            *(places, self.kernel),
            *(inputs // self.columns, self.columns),
        )


def kernel_size(layout: Layout) -> int:
    """Return the number of places of a kernel; 1 where there is none."""
    places = 1
    for axis in layout.kernel:
        places *= layout.shape[axis]
    return places


def tile(pattern: Groups | Blocks | Filters, layout: Layout) -> Tiling:
    """Return the units of a pattern in a tensor that it fits."""
    match pattern:
        case Groups():
            return Tiling(layout, 1, 1, pattern.m)
        case Blocks():
            return Tiling(layout, pattern.rows, 1, pattern.columns)
        case Filters():
            return Tiling(layout, 1, kernel_size(layout), layout.input_count)
