"""Counts zeros and sums squares of weights in a file."""

import numpy as np

from onnxprune.formats.onnx_data import StoredTensor
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.selection import CHUNK
from onnxprune.types import Array, Tally


def count_zeros(model: OnnxModel, path: str) -> int:
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
        float(np.einsum("i,i->", before, before, dtype=np.float64)),
        float(np.einsum("i,i->", after, after, dtype=np.float64)),
    )
