"""What becomes of a model's tensors: which values fall away, and what the others become."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.errors import OutputError, UnsupportedError
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_data import StoredTensor
from onnxprune.types import Array

Pruner = Callable[[int, Array], Array]
"""(first position, real values) -> which of these values fall away; called in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """What becomes of a tensor.

    Args:
        pruner: says of the values in the file which fall away; None keeps all.
        values: real values, flat and in stored order, that take the place of the file's, as
            float32 or float64; None leaves them.
    """

    pruner: Pruner | None = None
    values: Array | None = None

    def apply(self, tensor: StoredTensor, raw: Array, start: int) -> Array:
        """Return what a range of stored values becomes.

        Args:
            tensor: where they are from.
            raw: the stored values.
            start: the index of the first.
        """
        real = tensor.real(raw, start)
        fallen = np.zeros(raw.shape, bool)
        if self.pruner is not None:
            fallen = self.pruner(start, real)
        if self.values is not None:
            given = self.values[start : start + raw.size]
            raw = _replaced(tensor, raw, start, given, _differing(given, real) & ~fallen)
        return raw if self.pruner is None else tensor.zeroed(raw, start, fallen)


Edits = Mapping[str, Edit]
"""What becomes of tensors, by their paths."""


def check_edits(model: Model, edits: Edits) -> None:
    """Refuse edits of what cannot be edited."""
    for path, edit in edits.items():
        reason = model.editable(path)
        if reason is not None:
            hint = f"--exclude '{path}' leaves it as it is"
            raise UnsupportedError(f"'{path}' {reason}", hint)
        size = model.stored(path).size
        if edit.values is not None and edit.values.shape != (size,):
            raise OutputError(f"'{path}': {edit.values.size:,} values for {size:,} elements")


def _differing(given: Array, real: Array) -> Array:
    """Return which values are not the file's, as far as their own precision tells."""
    with np.errstate(over="ignore"):
        before = real.astype(given.dtype)
    return np.asarray((given != before) & ~(np.isnan(given) & np.isnan(before)))


def _replaced(
    tensor: StoredTensor, raw: Array, start: int, given: Array, changed: Array
) -> Array:
    """Encode the values that change; the others keep their bits."""
    if not changed.any():
        return raw
    return np.where(changed, tensor.encoded(np.where(changed, given, 0), start), raw)
