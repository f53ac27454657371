"""Arrays are packed piece by piece, and what numpy loads is the same."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.errors import InputError
from onnxprune.samples.packing import Packed, pack
from onnxprune.samples.table import Spec
from tests.samples.made import Array, floats


def packed(*arrays: Packed) -> bytes:
    stream = io.BytesIO()
    pack(stream, arrays)
    return stream.getvalue()


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["<f4", ">f8", "|u1", "<U3"]))
def test_any_pieces_make_the_same_file(rows: int, size: int, dtype: str) -> None:
    array: Array = np.asfortranarray(floats(rows, 3)).astype(dtype)
    pieces = [array[start : start + size] for start in range(0, rows, size)]
    data = packed(Packed("x", Spec.of(array), pieces))
    assert data == packed(Packed("x", Spec.of(array), [array]))
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        assert np.array_equal(found["x"], array)
        assert found["x"].dtype == array.dtype


def test_pieces_that_are_not_the_array_are_refused() -> None:
    spec = Spec.of(floats(3, 2))
    with pytest.raises(InputError) as caught:
        packed(Packed("x", spec, [floats(2, 2)]))
    assert caught.value.message == "'x' has 4 values, not those of its shape"
    with pytest.raises(InputError) as caught:
        packed(Packed("x", spec, [np.zeros((3, 2))]))
    assert caught.value.message == "'x' is float64, not float32 as its first rows"
