from typing import Any

import pytest
import torch
from torch import tensor

from onnxprune.errors import InputError
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample


@pytest.mark.parametrize("case", cases(["ArgMax", "ArgMin", "TopK", "NonZero", "Unique"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


def test_the_largest_elements_have_their_gradients() -> None:
    for largest in (0, 1):
        gradients_hold(
            "TopK", sample(3, 4), tensor([2]), output=0, largest=largest, twice=True
        )


def test_different_elements_have_their_gradients() -> None:
    gradients_hold("Unique", sample(5), output=0)


def test_of_equal_elements_the_first_is_named_first() -> None:
    values, places = apply("TopK", tensor([1.0, 2.0, 1.0, 2.0]), tensor([3]))
    assert values.tolist() == [2.0, 2.0, 1.0]
    assert places.tolist() == [1, 3, 0]


def test_the_number_of_elements_is_an_attribute_before_opset_10() -> None:
    values, _ = apply("TopK", tensor([1.0, 3.0, 2.0]), k=2, opset=1)
    assert values.tolist() == [3.0, 2.0]


def test_more_elements_than_there_are_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        apply("TopK", tensor([1.0, 2.0]), tensor([3]))
    assert str(caught.value) == "TopK asks for 3 of 2 elements"


def test_the_last_of_equal_elements_is_found_if_asked_for() -> None:
    x = tensor([2.0, 5.0, 5.0])
    assert apply("ArgMax", x).tolist() == [1]
    assert apply("ArgMax", x, select_last_index=1, keepdims=0).tolist() == 2
    assert apply("ArgMin", -x, select_last_index=1, keepdims=0).tolist() == 2


def test_unsigned_integers_are_ordered_by_their_values() -> None:
    x = tensor([1, 65535, 2]).to(torch.uint16)
    assert apply("ArgMax", x, keepdims=0).item() == 1
    values, _ = apply("TopK", x, tensor([2]))
    assert (values.dtype, values.tolist()) == (torch.uint16, [65535, 2])


def test_different_elements_come_in_the_order_that_is_asked_for() -> None:
    x = tensor([3.0, 1.0, 3.0, 2.0])
    values, first, which, counts = apply("Unique", x, sorted=0, outputs=4)
    assert values.tolist() == [3.0, 1.0, 2.0]
    assert first.tolist() == [0, 1, 3]
    assert which.tolist() == [0, 1, 0, 2]
    assert counts.tolist() == [2, 1, 1]
    assert apply("Unique", x)[0].tolist() == [1.0, 2.0, 3.0]
