from typing import Any

import pytest
import torch
from torch import tensor

from onnxprune.errors import InputError
from onnxprune.reimport.operators.comparison import BINARY
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample

NAMES = [*BINARY, "Not", "BitwiseNot", "BitShift", "IsNaN", "IsInf", "Where"]
STRINGS = ["test_equal_string", "test_equal_string_broadcast"]


@pytest.mark.parametrize("case", cases(NAMES, without=STRINGS))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


def test_both_choices_have_their_gradients() -> None:
    condition = tensor([[True, False, True], [False, False, True]])
    gradients_hold("Where", condition, sample(2, 3), sample(3, seed=1), twice=True)


def test_an_axis_aligns_the_second_operand_before_opset_7() -> None:
    x, y = tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([1.5, 3.5])
    found = apply("Greater", x, y, broadcast=1, axis=0, opset=6)
    assert found.tolist() == [[False, True], [False, True]]


def test_a_shift_beyond_all_bits_leaves_the_sign() -> None:
    x = tensor([5, -5])
    assert apply("BitShift", x, tensor([64, 70]), direction="RIGHT").tolist() == [0, -1]
    assert apply("BitShift", x, tensor([64, -1]), direction="LEFT").tolist() == [0, 0]
    small = tensor([5, -5], dtype=torch.int8)
    assert apply("BitShift", small, small.new_tensor([8, 8]), direction="LEFT").tolist() == [
        0,
        0,
    ]


def test_a_shift_to_neither_side_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        apply("BitShift", tensor([1]), tensor([1]), direction="UP")
    assert str(caught.value) == "BitShift has direction 'UP', not LEFT or RIGHT"


def test_infinities_count_on_the_sides_that_are_asked_for() -> None:
    x = tensor([float("inf"), -float("inf"), 1.0])
    assert apply("IsInf", x, detect_negative=0).tolist() == [True, False, False]
    assert apply("IsInf", x, detect_positive=0).tolist() == [False, True, False]
    neither = apply("IsInf", x, detect_positive=0, detect_negative=0)
    assert neither.tolist() == [False, False, False]


def test_unsigned_integers_compare_by_their_values() -> None:
    large, small = tensor([65535]).to(torch.uint16), tensor([1]).to(torch.uint16)
    assert apply("Greater", large, small).tolist() == [True]
