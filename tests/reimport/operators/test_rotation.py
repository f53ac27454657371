from typing import Any

import pytest
import torch
from torch import tensor

from onnxprune.errors import InputError, UnsupportedError
from tests.reimport.nodes import (
    apply,
    cases,
    gradients_hold,
    run_case,
    same_as_runtime,
    sample,
)

MICROSOFT = "com.microsoft"


@pytest.mark.parametrize("case", cases(["RotaryEmbedding"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("positions", [[[0, 2, 1], [3, 3, 0]], [1]])
@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 2, 3, 4)])
def test_it_computes_what_the_runtime_does(
    interleaved: int, positions: Any, shape: tuple[int, ...]
) -> None:
    same_as_runtime(
        "RotaryEmbedding",
        sample(*shape),
        tensor(positions),
        sample(5, 2, seed=1),
        sample(5, 2, seed=2),
        domain=MICROSOFT,
        interleaved=interleaved,
    )


def test_a_part_of_a_head_may_be_rotated() -> None:
    same_as_runtime(
        "RotaryEmbedding",
        sample(2, 3, 12),
        tensor([[0, 2, 1], [3, 3, 0]]),
        sample(5, 2, seed=1),
        sample(5, 2, seed=2),
        domain=MICROSOFT,
        num_heads=2,
        rotary_embedding_dim=4,
    )


@pytest.mark.parametrize("interleaved", [0, 1])
def test_a_rotation_has_its_gradients(interleaved: int) -> None:
    gradients_hold(
        "RotaryEmbedding",
        sample(1, 2, 2, 6),
        sample(3, 2, seed=1),
        sample(3, 2, seed=2),
        tensor([[0, 2]]),
        interleaved=interleaved,
        rotary_embedding_dim=4,
        twice=True,
    )


def test_a_right_angle_swaps_the_halves() -> None:
    x = tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    found = apply("RotaryEmbedding", x, torch.zeros(1, 1, 2), torch.ones(1, 1, 2))
    assert found.flatten().tolist() == [-3.0, -4.0, 1.0, 2.0]
    pairs = apply(
        "RotaryEmbedding", x, torch.zeros(1, 1, 2), torch.ones(1, 1, 2), interleaved=1
    )
    assert pairs.flatten().tolist() == [-2.0, 1.0, -4.0, 3.0]


def test_what_does_not_fit_is_refused() -> None:
    angles = torch.zeros(1, 1, 2)
    with pytest.raises(InputError) as caught:
        apply("RotaryEmbedding", torch.zeros(1, 1, 1, 6), angles, angles)
    assert str(caught.value) == "2 angles rotate 6 numbers of a head"
    with pytest.raises(InputError) as other:
        apply("RotaryEmbedding", torch.zeros(1, 1, 4), angles, angles)
    assert str(other.value) == "RotaryEmbedding has three dimensions and no number of heads"
    with pytest.raises(UnsupportedError) as scaled:
        apply(
            "RotaryEmbedding",
            torch.zeros(1, 1, 4),
            tensor([0]),
            angles[0],
            angles[0],
            domain=MICROSOFT,
            scale=2.0,
        )
    assert str(scaled.value) == "RotaryEmbedding has packed batches or a scale of its own"
