from typing import Any

import pytest
import torch
from torch import tensor

from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample


@pytest.mark.parametrize("case", cases(["Trilu", "EyeLike", "Det"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("upper", [0, 1])
def test_a_triangle_has_its_gradients(upper: int) -> None:
    gradients_hold("Trilu", sample(3, 3), tensor(1), upper=upper, twice=True)


def test_a_determinant_has_its_gradients() -> None:
    gradients_hold("Det", sample(2, 3, 3), twice=True)


def test_ones_may_lie_beside_the_diagonal() -> None:
    x = torch.zeros(2, 3, dtype=torch.int32)
    assert apply("EyeLike", x, k=1).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert apply("EyeLike", x, k=-1, dtype=1).tolist() == [[0.0] * 3, [1.0, 0.0, 0.0]]


def test_unsigned_integers_have_triangles() -> None:
    x = tensor([[1, 2], [3, 65535]]).to(torch.uint16)
    assert apply("Trilu", x).tolist() == [[1, 2], [0, 65535]]
