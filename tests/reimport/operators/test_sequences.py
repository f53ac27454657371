from typing import Any

import pytest
import torch
from torch import Tensor, tensor

from onnxprune.errors import InputError
from tests.reimport.nodes import apply

A, B, C = tensor([1.0]), tensor([2.0]), tensor([3.0])


def values(sequence: Any) -> list[Any]:
    assert isinstance(sequence, tuple)
    (held,) = sequence
    return [each.tolist() for each in held]


def test_a_sequence_is_one_output() -> None:
    assert values(apply("SequenceConstruct", A, B)) == [[1.0], [2.0]]
    assert values(apply("SequenceEmpty")) == []
    assert apply("SequenceLength", [A, B]).tolist() == 2


def test_values_are_put_in_and_taken_out() -> None:
    assert values(apply("SequenceInsert", [A, B], C)) == [[1.0], [2.0], [3.0]]
    assert values(apply("SequenceInsert", [A, B], C, tensor(-1))) == [[1.0], [3.0], [2.0]]
    assert values(apply("SequenceInsert", [A], C, tensor(1))) == [[1.0], [3.0]]
    assert values(apply("SequenceErase", [A, B])) == [[1.0]]
    assert values(apply("SequenceErase", [A, B], tensor(0))) == [[2.0]]
    assert apply("SequenceAt", [A, B], tensor(-1)) == (B,)


def test_a_sequence_that_is_changed_is_another() -> None:
    sequence = [A]
    apply("SequenceInsert", sequence, B)
    apply("SequenceErase", sequence)
    assert sequence == [A]


@pytest.mark.parametrize("name", ["SequenceAt", "SequenceErase"])
def test_a_position_outside_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        apply(name, [A, B], tensor(2))
    assert str(caught.value) == "position 2 is not in a sequence of 2"


def test_sequences_are_joined_along_an_axis_or_a_new_one() -> None:
    assert apply("ConcatFromSequence", [A, B], axis=0).tolist() == [1.0, 2.0]
    assert apply("ConcatFromSequence", [A, B], axis=0, new_axis=1).tolist() == [[1.0], [2.0]]


def test_a_tensor_is_cut_into_a_sequence() -> None:
    x = torch.arange(3.0)
    assert values(apply("SplitToSequence", x)) == [[0.0], [1.0], [2.0]]
    assert values(apply("SplitToSequence", x, keepdims=0)) == [0.0, 1.0, 2.0]
    assert values(apply("SplitToSequence", x, tensor(2))) == [[0.0, 1.0], [2.0]]
    assert values(apply("SplitToSequence", x, tensor([1, 2]))) == [[0.0], [1.0, 2.0]]


def test_gradients_pass_through_a_sequence() -> None:
    x: Tensor = torch.ones(3, requires_grad=True)
    (pieces,) = apply("SplitToSequence", x)
    (last,) = apply("SequenceAt", pieces, tensor(2))
    (2 * last).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0, 2.0]


def test_an_optional_value_may_be_nothing() -> None:
    assert apply("Optional", A) == (A,)
    assert apply("Optional") == (None,)
    assert apply("OptionalHasElement", A).tolist() is True
    assert apply("OptionalHasElement").tolist() is False
    assert apply("OptionalGetElement", A) == (A,)
    with pytest.raises(InputError) as caught:
        apply("OptionalGetElement", None)
    assert str(caught.value) == "OptionalGetElement has an optional value that holds nothing"
