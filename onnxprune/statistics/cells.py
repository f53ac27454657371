"""The cells of weights' matrices: their numbers, and blocks of them in what is multiplied."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onnxprune.types import Array, Layout


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The cells of one weight's matrix, numbered row by row.

    Args:
        path: the weight's.
        layout: how it is a matrix.
        tensor: its values, as stored.
        base: the number of the first cell.
    """

    path: str
    layout: Layout
    tensor: Tensor
    base: int

    @property
    def end(self) -> int:
        """The number behind the last cell."""
        return self.base + self.tensor.numel()

    @property
    def width(self) -> int:
        """How many columns the matrix has."""
        return self.tensor.numel() // max(self.layout.output_count, 1)

    def numbers(self) -> Tensor:
        """Return the cells' numbers in the shape of the tensor."""
        numbers = np.arange(self.base, self.end).reshape(-1, max(self.width, 1))
        stored = torch.from_numpy(self.layout.flat(numbers)).reshape(self.tensor.shape)
        return stored.to(self.tensor.device)

    def values(self, rows: Array, columns: Array) -> Tensor:
        """Return a block of the matrix."""
        shown = self.tensor.reshape(self.layout.shape).permute(self.layout.axes)
        matrix = shown.reshape(-1, self.width)
        return matrix[torch.from_numpy(rows)][:, torch.from_numpy(columns)]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows of an operand that hold the same columns of a weight at the same inputs.

    Args:
        cells: the weight's.
        rows: of its matrix; `outputs`: of the operand.
        columns: of its matrix; `inputs`: of the operand.
    """

    cells: Cells
    rows: Array
    outputs: Array
    columns: Array
    inputs: Array

    def is_scaled(self, operand: Tensor, room: Tensor) -> bool:
        """Say whether arithmetic has only multiplied each row of the weight by a number.

        Args:
            operand: what has come of it, [outputs, inputs].
            room: how far its values may be off, as the root of the mean of squares.
        """
        found = operand[torch.from_numpy(self.outputs)][:, torch.from_numpy(self.inputs)]
        own = self.cells.values(self.rows, self.columns)
        least = torch.finfo(own.dtype).tiny
        scale = (found * own).sum(1, True) / own.square().sum(1, True).clamp(least)
        return bool((found - scale * own).square().mean().sqrt() <= room)


def find_blocks(matrix: Array, known: Sequence[Cells]) -> Iterator[Block]:
    """Find out which rows of which weights an operand is made of.

    A row that holds pieces of more than one row of a weight is left out: its product is no
    product of a row.

    Args:
        matrix: numbers of cells, [outputs, inputs], and -1 where there is no weight.
        known: all weights, in the order of their numbers.
    """
    if matrix.size == 0:
        return
    whole = _whole(matrix, known)
    for block in _pieces(matrix, known) if whole is None else [whole]:
        left = np.arange(len(block.rows))
        while left.size:
            _, first = np.unique(block.rows[left], return_index=True)
            taken = left[np.sort(first)]
            yield Block(
                block.cells,
                block.rows[taken],
                block.outputs[taken],
                block.columns,
                block.inputs,
            )
            left = np.setdiff1d(left, taken)


def _owners(numbers: Array, known: Sequence[Cells]) -> Array:
    """Return for each number the place of its weight, or -1."""
    return np.searchsorted([cells.base for cells in known], numbers, side="right") - 1


def _whole(matrix: Array, known: Sequence[Cells]) -> Block | None:
    """Return an operand that is one block, as nearly all are."""
    edges = np.concatenate([matrix[0], matrix[:, 0]])
    owner = int(_owners(edges[:1], known)[0])
    if edges.min() < 0 or edges.max() >= known[owner].end or edges.min() < known[owner].base:
        return None
    cells = known[owner]
    rows = (matrix[:, 0] - cells.base) // cells.width
    columns = (matrix[0] - cells.base) % cells.width
    if not np.array_equal(matrix, cells.base + rows[:, None] * cells.width + columns):
        return None
    height, width = matrix.shape
    return Block(cells, rows, np.arange(height), columns, np.arange(width))


def _pieces(matrix: Array, known: Sequence[Cells]) -> list[Block]:
    """Sort the rows of an operand by what they hold at which inputs."""
    found: dict[tuple[int, bytes, bytes], list[tuple[int, int]]] = {}
    for output, numbers in enumerate(matrix):
        owners = _owners(numbers, known)
        for owner in np.unique(owners[owners >= 0]).tolist():
            inputs = np.flatnonzero(owners == owner)
            rows, columns = np.divmod(numbers[inputs] - known[owner].base, known[owner].width)
            if (rows == rows[0]).all():
                key = (owner, inputs.tobytes(), columns.tobytes())
                found.setdefault(key, []).append((int(rows[0]), output))
    blocks = []
    for (owner, inputs_held, columns_held), places in found.items():
        rows, outputs = np.array(places).T
        inputs, columns = (
            np.frombuffer(held, np.int64).copy() for held in (inputs_held, columns_held)
        )
        blocks.append(Block(known[owner], rows, outputs, columns, inputs))
    return blocks
