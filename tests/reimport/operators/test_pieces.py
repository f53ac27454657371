from typing import Any

import pytest
import torch
from torch import Tensor, tensor

from onnxprune.errors import InputError, UnsupportedError
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample

LAST = 2**63 - 1


@pytest.mark.parametrize("case", cases(["Concat", "Split", "Slice", "Pad", "Compress"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


def test_joined_tensors_have_their_gradients() -> None:
    gradients_hold("Concat", sample(2, 1), sample(2, 3, seed=1), axis=1, twice=True)


@pytest.mark.parametrize("output", [0, 1])
def test_pieces_have_their_gradients(output: int) -> None:
    gradients_hold("Split", sample(2, 3), axis=1, num_outputs=2, output=output, outputs=2)


def test_a_cut_has_its_gradients() -> None:
    numbers = [tensor([2, 0]), tensor([-9, 9]), tensor([0, 1]), tensor([-2, 2])]
    gradients_hold("Slice", sample(3, 4), *numbers, twice=True)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_padding_has_its_gradients(mode: str) -> None:
    gradients_hold("Pad", sample(2, 4), tensor([1, 2, 0, -1]), mode=mode, twice=True)


def test_kept_elements_have_their_gradients() -> None:
    gradients_hold("Compress", sample(2, 3), tensor([True, False, True]), axis=1)


def cut(x: Tensor, start: int, end: int, step: int) -> Any:
    numbers = [tensor([start]), tensor([end]), tensor([0]), tensor([step])]
    return apply("Slice", x, *numbers).tolist()


def test_a_cut_may_go_backwards() -> None:
    x = tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    assert cut(x, -1, -(2**63), -2) == [4.0, 2.0, 0.0]
    assert cut(x, 9, 1, -1) == [4.0, 3.0, 2.0]
    assert cut(x, 1, 3, -1) == []


def test_a_backward_cut_starts_at_the_first_element_at_the_least() -> None:
    assert cut(tensor([0.0, 1.0]), -9, -9, -1) == [0.0]


def test_a_cut_ends_where_the_tensor_does() -> None:
    x = tensor([0.0, 1.0, 2.0])
    assert cut(x, 1, LAST, 1) == [1.0, 2.0]
    assert cut(x, -9, 9, 2) == [0.0, 2.0]
    assert cut(x, 5, 9, 1) == []


def test_cuts_are_attributes_before_opset_10() -> None:
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    found = apply("Slice", x, starts=[0], ends=[1], axes=[1], opset=1)
    assert found.tolist() == [[1.0], [3.0]]
    assert apply("Slice", x, starts=[1], ends=[9], opset=1).tolist() == [[3.0, 4.0]]


def test_lengths_of_pieces_are_an_attribute_an_input_or_equal() -> None:
    x = torch.arange(5.0)
    assert [len(each) for each in apply("Split", x, split=[1, 4], opset=2)] == [1, 4]
    assert [len(each) for each in apply("Split", x, tensor([2, 3]), outputs=2)] == [2, 3]
    assert [len(each) for each in apply("Split", x, num_outputs=3, outputs=3)] == [2, 2, 1]


def test_pieces_that_are_not_the_whole_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        apply("Split", torch.zeros(5), tensor([2, 2]))
    assert str(caught.value) == "Split of 5 elements into pieces of [2, 2]"


def test_tensors_are_joined_along_axis_1_where_old_nodes_name_none() -> None:
    x = torch.zeros(1, 2)
    assert apply("Concat", x, x, opset=1).shape == (1, 4)
    with pytest.raises(InputError) as caught:
        apply("Concat", x, x, opset=13)
    assert str(caught.value) == "Concat names no axis"


def test_padding_may_take_away_and_has_a_value() -> None:
    x = tensor([1.0, 2.0, 3.0])
    assert apply("Pad", x, tensor([-1, 1]), tensor(9.0)).tolist() == [2.0, 3.0, 9.0]
    assert apply("Pad", x, pads=[1, 0], value=5.0, opset=2).tolist() == [5.0, 1.0, 2.0, 3.0]
    assert apply("Pad", x, paddings=[0, 1], opset=1).tolist() == [1.0, 2.0, 3.0, 0.0]


def test_padding_mirrors_repeats_and_wraps() -> None:
    x = tensor([1.0, 2.0, 3.0])
    found = {
        mode: apply("Pad", x, tensor([2, 1]), mode=mode).tolist()
        for mode in ("reflect", "edge", "wrap")
    }
    assert found == {
        "reflect": [3.0, 2.0, 1.0, 2.0, 3.0, 2.0],
        "edge": [1.0, 1.0, 1.0, 2.0, 3.0, 3.0],
        "wrap": [2.0, 3.0, 1.0, 2.0, 3.0, 1.0],
    }
    assert apply("Pad", tensor([7.0]), tensor([1, 1]), mode="reflect").tolist() == [7.0] * 3


def test_truth_values_and_unsigned_integers_are_padded() -> None:
    assert apply("Pad", tensor([True]), tensor([1, 0])).tolist() == [False, True]
    x = tensor([65535]).to(torch.uint16)
    assert apply("Pad", x, tensor([0, 1]), mode="edge").tolist() == [65535, 65535]
    filling = tensor(65534).to(torch.uint16)
    assert apply("Pad", x, tensor([0, 1]), filling).tolist() == [65535, 65534]


def test_unknown_padding_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        apply("Pad", torch.zeros(2), tensor([1, 1]), mode="smooth")
    assert str(caught.value) == "Pad has mode 'smooth', which is not known"
    with pytest.raises(InputError) as wrong:
        apply("Pad", torch.zeros(2, 2), tensor([1, 1]))
    assert str(wrong.value) == "Pad has 2 numbers for 2 axes"


def test_a_condition_may_be_shorter_than_the_axis() -> None:
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    assert apply("Compress", x, tensor([False, True, True])).tolist() == [2.0, 3.0]
    assert apply("Compress", x, tensor([False, True]), axis=-1).tolist() == [[2.0], [4.0]]
