import ml_dtypes
import numpy as np
import pytest
import torch
from onnx import TensorProto

from onnxprune.reimport.dtypes import precision
from onnxprune.reimport.values import carries_gradient, element_type, to_array, to_value


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("f4", torch.float32),
        ("f2", torch.float32),
        (ml_dtypes.bfloat16, torch.float32),
        ("f8", torch.float64),
        ("i1", torch.int8),
        ("u2", torch.uint16),
        ("i8", torch.int64),
        ("?", torch.bool),
    ],
)
def test_arrays_become_tensors_of_the_computed_type(dtype: str, expected: torch.dtype) -> None:
    value = to_value(np.array([[0, 1]]).astype(dtype))
    assert value.dtype == expected
    assert value.to(torch.int64).tolist() == [[0, 1]]


def test_single_and_half_precision_become_double_if_asked() -> None:
    with precision(torch.float64):
        assert to_value(np.float32([1])).dtype == torch.float64
        assert to_value(np.float16([1])).dtype == torch.float64
        assert element_type(to_value(np.float32([1]))) == TensorProto.FLOAT


def test_numbers_of_narrow_types_remember_their_type() -> None:
    array = np.array([1, -2, 7], ml_dtypes.int4)
    value = to_value(array)
    assert value.dtype == torch.float32
    assert value.tolist() == [1, -2, 7]
    assert element_type(value) == TensorProto.INT4
    back = to_array(value)
    assert back.dtype == ml_dtypes.int4
    assert back.tolist() == [1, -2, 7]


def test_texts_and_complex_numbers_stay_arrays() -> None:
    texts = np.array(["a"], object)
    assert to_value(texts) is texts
    assert element_type(texts) == TensorProto.STRING
    assert isinstance(to_value(np.array([1j])), np.ndarray)


def test_sequences_are_lists() -> None:
    values = to_value([np.float32([1]), np.float32([2])])
    assert [value.tolist() for value in values] == [[1], [2]]
    assert [array.tolist() for array in to_array(values)] == [[1], [2]]
    assert element_type(values) == TensorProto.FLOAT
    assert to_value(None) is None


def test_a_tensor_shares_nothing_with_the_array_it_was_made_of() -> None:
    array = np.zeros(2, np.float32)
    value = to_value(array)
    array[0] = 1
    assert value.tolist() == [0, 0]


def test_only_floats_carry_a_gradient() -> None:
    assert carries_gradient(torch.ones(1))
    assert carries_gradient([torch.ones(1, dtype=torch.int64), torch.ones(1)])
    assert not carries_gradient(torch.ones(1, dtype=torch.int64))
    assert not carries_gradient(np.float32([1]))
