from typing import Any

import pytest
import torch
from torch import tensor

from onnxprune.reimport.operators.reductions import OF_FLOATS, REDUCTIONS
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample

NAMES = [*REDUCTIONS, *OF_FLOATS]


@pytest.mark.parametrize("case", cases([*NAMES, "CumSum", "CumProd"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axes", [[0], [-1, 0], []])
def test_a_reduction_has_its_gradients(name: str, axes: list[int]) -> None:
    x = sample(2, 3, 2, low=0.2)
    gradients_hold(name, x, tensor(axes, dtype=torch.int64), twice=True)


@pytest.mark.parametrize("name", ["CumSum", "CumProd"])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_sums_of_all_before_have_their_gradients(
    name: str, exclusive: int, reverse: int
) -> None:
    settings = {"exclusive": exclusive, "reverse": reverse}
    gradients_hold(name, sample(2, 3), tensor(1), twice=True, **settings)


def test_axes_are_an_attribute_or_an_input() -> None:
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    assert apply("ReduceSum", x, axes=[0], keepdims=0, opset=11).tolist() == [4.0, 6.0]
    assert apply("ReduceSum", x, tensor([1])).tolist() == [[3.0], [7.0]]


def test_no_axes_are_all_axes_unless_the_node_says_none() -> None:
    x = tensor([[3.0, -4.0]])
    assert apply("ReduceL2", x).tolist() == [[5.0]]
    nothing = apply("ReduceL2", x, noop_with_empty_axes=1)
    assert nothing.tolist() == [[3.0, 4.0]]


def test_a_scalar_can_be_reduced() -> None:
    assert apply("ReduceSumSquare", tensor(3.0)).tolist() == 9.0


def test_a_reduction_of_nothing_is_what_changes_nothing() -> None:
    nothing = torch.zeros(0, 2)
    assert apply("ReduceMin", nothing, tensor([0]), keepdims=0).tolist() == [float("inf")] * 2
    assert apply("ReduceProd", nothing, tensor([0]), keepdims=0).tolist() == [1.0, 1.0]
    whole = apply("ReduceMax", nothing.to(torch.int8), tensor([0]), keepdims=0)
    assert whole.tolist() == [-128, -128]
    assert apply("ReduceMax", nothing.bool(), tensor([0]), keepdims=0).tolist() == [False] * 2


def test_integers_stay_integers() -> None:
    x = tensor([[1, 2, -6]], dtype=torch.int32)
    mean = apply("ReduceMean", x, keepdims=0)
    assert (mean.dtype, mean.tolist()) == (torch.int32, -1)
    assert apply("ReduceL2", x, keepdims=0).tolist() == 6


def test_unsigned_integers_keep_their_type() -> None:
    total = apply("ReduceSum", tensor([1, 2]).to(torch.uint32), keepdims=0)
    assert (total.dtype, total.item()) == (torch.uint32, 3)
