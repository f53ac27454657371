"""Where a model's zeros lie: in groups of input channels, in blocks, in whole filters."""

import numpy as np

from onnxprune.formats.loading import Model
from onnxprune.patterns.pattern import Blocks, Filters, Groups, Pattern, misfit
from onnxprune.patterns.tiling import tile
from onnxprune.selection import CHUNK
from onnxprune.types import Array, Inspected, Structure, Weight

GROUPS = Groups(2, 4)
BLOCKS = Blocks(4, 4)
"""What is looked for unless the user names another pattern."""


def inspected(pattern: Pattern) -> Inspected:
    """Say what is looked for where a pattern was named, or none."""
    groups = pattern if isinstance(pattern, Groups) else GROUPS
    blocks = pattern if isinstance(pattern, Blocks) else BLOCKS
    named = isinstance(pattern, Groups | Blocks | Filters)
    return Inspected(str(groups), str(blocks), str(pattern) if named else None)


def structure_of(model: Model, weight: Weight, zeros: int, pattern: Pattern) -> Structure:
    """Count the groups of a tensor that comply, the blocks that hold weights, empty filters.

    Args:
        model: the open model.
        weight: the tensor.
        zeros: how many zeros it has; without any there is nothing to read.
        pattern: takes the place of 2:4 or of blocks of 4x4.
    """
    groups = pattern if isinstance(pattern, Groups) else GROUPS
    blocks = pattern if isinstance(pattern, Blocks) else BLOCKS
    left = _nonzero(model, weight) if zeros else None
    complying = occupied = None
    group_count = block_count = None
    if misfit(groups, weight) is None:
        tiling = tile(groups, weight.layout)
        group_count, complying = tiling.count, 0
        if left is not None:
            kept = np.count_nonzero(tiling.table(left), axis=1)
            complying = int((kept <= groups.n).sum())
    if misfit(blocks, weight) is None:
        tiling = tile(blocks, weight.layout)
        block_count = occupied = tiling.count
        if left is not None:
            occupied = int(tiling.table(left).any(axis=1).sum())
    filters = weight.layout.output_count
    empty = 0 if left is None else int((~weight.layout.matrix(left).any(axis=1)).sum())
    return Structure(group_count, complying, block_count, occupied, filters, empty)


def _nonzero(model: Model, weight: Weight) -> Array:
    """Return which values are not zero, one flag for each."""
    tensor = model.stored(weight.path)
    left = np.empty(tensor.size, bool)
    for start in range(0, tensor.size, CHUNK):
        stop = min(start + CHUNK, tensor.size)
        left[start:stop] = tensor.nonzero(tensor.stored(start, stop), start)
    return left
