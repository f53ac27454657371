from typing import Any

import pytest
import torch
from torch import tensor

from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample


@pytest.mark.parametrize("case", cases(["Gather", "GatherElements", "GatherND"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("indices", [[[1, -1], [1, 0]], 1])
def test_slices_have_their_gradients(axis: int, indices: Any) -> None:
    gradients_hold("Gather", sample(3, 2), tensor(indices), axis=axis, twice=True)


def test_elements_have_their_gradients() -> None:
    indices = tensor([[0, -1, 0]])
    gradients_hold("GatherElements", sample(2, 3), indices, twice=True)
    gradients_hold("GatherND", sample(2, 3), tensor([[0, 1], [1, -1], [0, 1]]), twice=True)


def test_slices_come_from_their_own_sample() -> None:
    x = tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    found = apply("GatherND", x, tensor([[1], [0]]), batch_dims=1)
    assert found.tolist() == [[3.0, 4.0], [5.0, 6.0]]


def test_a_row_that_is_used_twice_has_twice_the_gradient() -> None:
    table = torch.ones(3, 2, requires_grad=True)
    apply("Gather", table, tensor([0, 2, 0])).sum().backward()
    assert table.grad is not None
    assert table.grad.tolist() == [[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]]


def test_a_number_as_index_drops_the_axis() -> None:
    x = tensor([[1, 2], [3, 4]])
    assert apply("Gather", x, tensor(-1), axis=1).tolist() == [2, 4]
    assert apply("Gather", x, tensor([-1]), axis=1).tolist() == [[2], [4]]


def test_unsigned_integers_are_picked() -> None:
    x = tensor([1, 65535]).to(torch.uint16)
    found = apply("Gather", x, tensor([1, 0], dtype=torch.int32))
    assert (found.dtype, found.tolist()) == (torch.uint16, [65535, 1])
