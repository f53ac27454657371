from typing import Any

import pytest
import torch
from torch import tensor

from onnxprune.errors import InputError
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample

NAMES = ["Shape", "Size", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"]
OTHERS = ["Expand", "Tile", "ReverseSequence"]


@pytest.mark.parametrize("case", cases([*NAMES, *OTHERS]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize(
    ("name", "numbers", "settings"),
    [
        ("Reshape", [3, -1], {}),
        ("Flatten", None, {"axis": 2}),
        ("Squeeze", [1], {}),
        ("Unsqueeze", [0, -1], {}),
        ("Transpose", None, {"perm": [2, 0, 1]}),
        ("Expand", [2, 1, 2, 3], {}),
        ("Tile", [1, 2, 1], {}),
    ],
)
def test_moved_values_have_their_gradients(
    name: str, numbers: list[int] | None, settings: dict[str, Any]
) -> None:
    x = sample(2, 1, 3)
    if name == "Expand":
        x = sample(1, 2, 1)
    given = [] if numbers is None else [tensor(numbers)]
    gradients_hold(name, x, *given, twice=True, **settings)


def test_reversed_sequences_have_their_gradients() -> None:
    gradients_hold("ReverseSequence", sample(3, 2), tensor([2, 3]))


def test_an_identity_may_be_a_sequence() -> None:
    assert apply("Identity", [1, 2]) == ([1, 2],)


def test_zero_keeps_a_dimension_unless_zeros_are_allowed() -> None:
    x = torch.zeros(2, 3)
    assert apply("Reshape", x, tensor([0, -1])).shape == (2, 3)
    assert apply("Reshape", x, shape=[3, 2], opset=1).shape == (3, 2)
    nothing = torch.zeros(0, 3)
    assert apply("Reshape", nothing, tensor([3, 0]), allowzero=1).shape == (3, 0)


def test_a_kept_dimension_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        apply("Reshape", torch.zeros(2), tensor([1, 0]))
    assert str(caught.value) == "Reshape to [1, 0] keeps a dimension beyond the 1 there are"


def test_only_dimensions_of_length_1_are_dropped() -> None:
    x = torch.zeros(1, 2, 1)
    assert apply("Squeeze", x).shape == (2,)
    assert apply("Squeeze", x, axes=[0], opset=11).shape == (2, 1)
    with pytest.raises(InputError) as caught:
        apply("Squeeze", x, tensor([1]))
    assert str(caught.value) == "Squeeze drops axis 1, which has length 2"


def test_inserted_dimensions_are_counted_in_the_result() -> None:
    x = torch.zeros(2, 3)
    assert apply("Unsqueeze", x, tensor([-1, 1])).shape == (2, 1, 3, 1)
    assert apply("Unsqueeze", x, axes=[0], opset=11).shape == (1, 2, 3)


def test_an_expansion_goes_both_ways() -> None:
    assert apply("Expand", torch.zeros(3, 1), tensor([4])).shape == (3, 4)
    assert apply("Expand", torch.zeros(2), tensor([3, 1])).shape == (3, 2)


def test_tiles_lie_along_one_axis_before_opset_6() -> None:
    x = tensor([[1.0, 2.0]])
    assert apply("Tile", x, tensor(2), tensor(1), opset=1).tolist() == [[1.0, 2.0, 1.0, 2.0]]
    with pytest.raises(InputError) as caught:
        apply("Tile", x, tensor(2), opset=1)
    assert str(caught.value) == "Tile of opset 1 names no axis"


def test_sequences_along_other_axes_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        apply("ReverseSequence", torch.zeros(1, 2, 3), tensor([1]), batch_axis=0, time_axis=2)
    assert str(caught.value) == "ReverseSequence has axes 0 and 2, which must be 0 and 1"


def test_the_ends_of_a_shape_may_be_cut_off() -> None:
    x = torch.zeros(2, 3, 4)
    assert apply("Shape", x, start=-2).tolist() == [3, 4]
    assert apply("Shape", x, start=1, end=2).tolist() == [3]
    assert apply("Shape", x, start=2, end=1).tolist() == []
