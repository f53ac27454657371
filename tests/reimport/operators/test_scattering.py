from typing import Any

import pytest
import torch
from torch import tensor

from onnxprune.errors import InputError, UnsupportedError
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample

NAMES = ["Scatter", "ScatterElements", "ScatterND", "TensorScatter"]


@pytest.mark.parametrize("case", cases(NAMES))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_written_elements_have_their_gradients(reduction: str) -> None:
    x, updates = sample(3, 2, low=0.5), sample(2, 2, seed=1, low=0.5)
    twice = reduction in ("none", "add")
    settings = {"reduction": reduction, "twice": twice}
    gradients_hold("ScatterElements", x, tensor([[0, -1], [2, 1]]), updates, **settings)
    gradients_hold("ScatterND", x, tensor([[0], [-1]]), updates, **settings)


def test_a_cache_has_its_gradients() -> None:
    starts = tensor([1, 2])
    gradients_hold(
        "TensorScatter", sample(2, 3, 2), sample(2, 2, 2, seed=1), starts, mode="circular"
    )


def test_a_place_that_is_written_twice_adds_up() -> None:
    found = apply(
        "ScatterND", torch.zeros(2), tensor([[0], [0]]), tensor([1.0, 2.0]), reduction="add"
    )
    assert found.tolist() == [3.0, 0.0]


def test_inputs_are_left_as_they_are() -> None:
    x = torch.zeros(2)
    apply("ScatterElements", x, tensor([0]), tensor([1.0]))
    assert x.tolist() == [0.0, 0.0]


def test_slices_are_combined_at_places_of_several_dimensions() -> None:
    x = torch.ones(2, 2, 2)
    found = apply("ScatterND", x, tensor([[1, 0]]), tensor([[2.0, 3.0]]), reduction="mul")
    assert found.tolist() == [[[1.0, 1.0], [1.0, 1.0]], [[2.0, 3.0], [1.0, 1.0]]]


def test_a_cache_is_written_around_its_end() -> None:
    cache, update = torch.zeros(1, 3, 1), tensor([[[1.0], [2.0]]])
    found = apply("TensorScatter", cache, update, tensor([2]), mode="circular")
    assert found.flatten().tolist() == [2.0, 0.0, 1.0]
    assert apply("TensorScatter", cache, update).flatten().tolist() == [1.0, 2.0, 0.0]


def test_what_is_not_known_is_refused() -> None:
    x, places = torch.zeros(2, 2), tensor([[0, 0]])
    with pytest.raises(UnsupportedError) as caught:
        apply("ScatterElements", x, places, torch.ones(1, 2), reduction="mean")
    assert str(caught.value) == "a scatter has reduction 'mean', which is not known"
    with pytest.raises(UnsupportedError) as other:
        apply("TensorScatter", x, x, mode="square")
    assert str(other.value) == "TensorScatter has mode 'square', which is not known"
    with pytest.raises(InputError) as axis:
        apply("TensorScatter", x, x, axis=0)
    assert str(axis.value) == "TensorScatter writes along axis 0, which counts the samples"
