from typing import Any

import pytest
import torch
from torch import tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.dtypes import precision
from tests.reimport.nodes import apply, cases, gradients_hold, run_case

NAMES = ["Constant", "ConstantOfShape", "Range", "OneHot"]
WINDOWS = ["HannWindow", "HammingWindow", "BlackmanWindow"]


@pytest.mark.parametrize("case", cases([*NAMES, *WINDOWS]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


def test_marks_have_the_gradients_of_their_values() -> None:
    gradients_hold("OneHot", tensor([0, 2]), tensor(3), tensor([0.5, 2.0]))


@pytest.mark.parametrize(
    ("kind", "value", "dtype"),
    [
        ("value_float", 1.5, torch.float32),
        ("value_floats", [1.5, 2.0], torch.float32),
        ("value_int", 3, torch.int64),
        ("value_ints", [3, 4], torch.int64),
    ],
)
def test_a_constant_is_a_number_or_a_list(kind: str, value: Any, dtype: torch.dtype) -> None:
    found = apply("Constant", **{kind: value})
    assert (found.tolist(), found.dtype) == (value, dtype)


def test_constants_have_the_precision_of_the_module() -> None:
    with precision(torch.float64):
        assert apply("Constant", value_float=1.0).dtype == torch.float64
        assert apply("ConstantOfShape", tensor([2])).dtype == torch.float64


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("value_string", "strings"),
        ("value_strings", "strings"),
        ("sparse_value", "a sparse value"),
    ],
)
def test_a_constant_that_is_no_array_is_refused(kind: str, words: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        apply("Constant", **{kind: "x"})
    assert str(caught.value) == f"Constant holds {words}, which cannot be computed with"


def test_a_range_never_reaches_its_limit() -> None:
    assert apply("Range", tensor(1), tensor(7), tensor(3)).tolist() == [1, 4]
    assert apply("Range", tensor(5), tensor(1), tensor(-2)).tolist() == [5, 3]
    assert apply("Range", tensor(1), tensor(1), tensor(2)).tolist() == []
    steps = apply("Range", tensor(0.0), tensor(1.0), tensor(0.25))
    assert steps.tolist() == [0.0, 0.25, 0.5, 0.75]


def test_an_index_outside_marks_nothing() -> None:
    found = apply("OneHot", tensor([-1, 3, -4]), tensor([3]), tensor([0, 1]))
    assert found.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_a_window_of_one_number_is_no_division_by_zero() -> None:
    assert apply("HannWindow", tensor(1), periodic=0).tolist() == [0.0]
