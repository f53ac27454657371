"""Counts zeros and sums squares of weights in a file."""

import zlib

import numpy as np

from onnxprune.formats.edits import Edit
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


def value_checksum(model: Model, path: str) -> int:
    """Return a checksum of a tensor's stored values, however they are written in the file."""
    tensor = model.stored(path)
    total = 0
    for start in range(0, tensor.size, CHUNK):
        block = tensor.stored(start, min(start + CHUNK, tensor.size))
        total = zlib.crc32(block.tobytes(), total)
    return total


def tally_tensor(model: Model, path: str, edit: Edit | None = None) -> Tally:
    """Count and sum what is in a file, and what an edit would leave of it."""
    tensor = model.stored(path)
    tally = Tally()
    for start in range(0, tensor.size, CHUNK):
        raw = tensor.stored(start, min(start + CHUNK, tensor.size))
        after = raw if edit is None else edit.apply(tensor, raw, start)
        tally += tally_of(tensor, raw, after, start)
    return tally


def tally_of(tensor: StoredTensor, raw: Array, after: Array, start: int) -> Tally:
    """Count zeros before and after, and sum the squares of all values and of those that fell."""
    before = tensor.real(raw, start)
    left = tensor.nonzero(after, start)
    return Tally(
        tensor.zero_count(raw, start),
        after.size - int(np.count_nonzero(left)),
        square_sum(before),
        square_sum(np.where(left, 0, before)),
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
