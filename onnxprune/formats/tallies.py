"""Counts zeros and sums squares of weights in a file."""

import numpy as np

from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_data import StoredTensor
from onnxprune.selection import CHUNK
from onnxprune.types import Array, Tally

ROW = 64


def count_zeros(model: Model, path: str) -> int:
    """Count the zeros of a weight in its file."""
    tensor = model.stored(path)
    return sum(
        tensor.zero_count(tensor.stored(start, min(start + CHUNK, tensor.size)), start)
        for start in range(0, tensor.size, CHUNK)
    )


def tally_of(tensor: StoredTensor, raw: Array, zeroed: Array, start: int) -> Tally:
    """Count zeros and sum squares before and after."""
    before, after = tensor.real(raw, start), tensor.real(zeroed, start)
    return Tally(
        tensor.zero_count(raw, start),
        tensor.zero_count(zeroed, start),
        square_sum(before),
        square_sum(before - after),
    )


def square_sum(values: Array) -> float:
    """Sum squares in rows of their own precision, and the rows in float64."""
    rows = values.size // ROW * ROW
    table = values[:rows].reshape(-1, ROW)
    rest = values[rows:].astype(np.float64)
    # A sum that overflows is infinite; reports then leave the norm's change open.
    with np.errstate(over="ignore"):
        total = np.add.reduce(np.einsum("ij,ij->i", table, table), dtype=np.float64)
        return float(total + np.add.reduce(rest * rest))
