"""Matrix products: onnx's node tests, ONNX Runtime beside them, and gradients."""

from typing import Any

import pytest
import torch

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import (
    apply,
    cases,
    gradients_hold,
    run_case,
    same_as_runtime,
    sample,
)


@pytest.mark.parametrize("case", cases(["MatMul", "Gemm", "Einsum"]))
def test_node(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("shape", [[], [1], [5], [3, 1], [1, 5], [3, 5]])
def test_gemm_adds_what_broadcasts(shape: list[int]) -> None:
    a, b, c = sample(4, 3), sample(5, 4, seed=1), sample(*shape, seed=2)
    same_as_runtime("Gemm", a, b, c, transA=1, transB=1, alpha=0.5, beta=2.0)


def test_gemm_without_a_third_matrix() -> None:
    same_as_runtime("Gemm", sample(3, 4), sample(4, 5, seed=1))
    same_as_runtime("Gemm", sample(3, 4), sample(4, 5, seed=1), alpha=-2.0)


def test_gemm_of_whole_numbers() -> None:
    a, b = torch.tensor([[1, 2]]), torch.tensor([[3], [4]])
    assert apply("Gemm", a, b, torch.tensor([1]), alpha=2.0, beta=3.0).tolist() == [[25]]
    with pytest.raises(UnsupportedError, match="Gemm of whole numbers") as found:
        apply("Gemm", a, b, alpha=0.5)
    assert found.value.message == "Gemm of whole numbers with factors 0.5 and 1"


def test_gemm_of_an_old_version_names_its_broadcast() -> None:
    a, b, c = torch.ones(2, 2), torch.eye(2), torch.tensor([1.0, 2.0])
    assert apply("Gemm", a, b, c, broadcast=1, opset=6).tolist() == [[2, 3], [2, 3]]


@pytest.mark.parametrize(
    "equation",
    ["ij,jk->ik", "ij,jk", "b...ij,b...jk->b...ik", "ii->i", "Ba,aC->CB", "ij -> j"],
)
def test_einsum_is_that_of_the_runtime(equation: str) -> None:
    size = 5 if "..." in equation else 2
    operands = [sample(*[3] * size, seed=n) for n in range(equation.count(",") + 1)]
    if "..." in equation:
        operands = [each[:2, :2] for each in operands]
    same_as_runtime("Einsum", *operands, equation=equation)


def test_gradients() -> None:
    a, b, c = sample(3, 2), sample(4, 3, seed=1), sample(4, seed=2)
    gradients_hold("Gemm", a, b, c, transA=1, transB=1, alpha=0.5, beta=2.0, twice=True)
    gradients_hold("MatMul", sample(2, 3, 2), sample(2, 2, seed=1), twice=True)
    gradients_hold("Einsum", a, b, equation="ij,ki->jk", twice=True)
