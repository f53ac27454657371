"""Products of quantised values: node tests, ONNX Runtime beside them, gradients of weights."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.reimport.nodes import apply, cases, run_case, same_as_runtime, sample

MICROSOFT = "com.microsoft"
TYPES = [torch.int8, torch.uint8]


def numbers(dtype: torch.dtype, *shape: int, seed: int = 0) -> Tensor:
    limits = torch.iinfo(dtype)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(limits.min, limits.max + 1, shape, generator=generator)
    return drawn.to(dtype)


def scales(*shape: int) -> Tensor:
    return sample(*shape, seed=5, low=0.01, high=0.1)


@pytest.mark.parametrize(
    "case", cases(["QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"])
)
def test_node(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("dtype", TYPES)
def test_products_of_numbers_are_those_of_the_runtime(dtype: torch.dtype) -> None:
    a, b = numbers(dtype, 3, 4), numbers(dtype, 4, 5, seed=1)
    zero, zeros = torch.tensor(7, dtype=dtype), torch.arange(5).to(dtype)
    same_as_runtime("MatMulInteger", a, b)
    same_as_runtime("MatMulInteger", a, b, zero, zero)
    same_as_runtime("MatMulInteger", a, b, zero, zeros)
    scale, y_scale = torch.tensor(0.02), torch.tensor(2.0)
    given = a, scale, zero, b, scales(5), zeros
    same_as_runtime("QLinearMatMul", *given, y_scale, zero)
    bias = sample(5)
    factors = scale, scales(5), zero, zeros
    same_as_runtime("MatMulIntegerToFloat", a, b, *factors, bias, domain=MICROSOFT)
    same_as_runtime("MatMulIntegerToFloat", a, b, *factors[:2], domain=MICROSOFT)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_matrix_is_quantised_over_its_range(dtype: torch.dtype) -> None:
    b, zeros = numbers(dtype, 4, 5), torch.arange(5).to(dtype)
    same_as_runtime(
        "DynamicQuantizeMatMul",
        sample(3, 4),
        b,
        scales(5),
        zeros,
        sample(5, seed=1),
        domain=MICROSOFT,
    )
    same_as_runtime(
        "DynamicQuantizeMatMul", sample(3, 4), b, torch.tensor(0.1), domain=MICROSOFT
    )


@pytest.mark.parametrize("dtype", TYPES)
def test_quantised_gemm_is_that_of_the_runtime(dtype: torch.dtype) -> None:
    scale, zero = torch.tensor(0.02), torch.tensor(7, dtype=dtype)
    third = torch.tensor([-50, 3, 99, 0, 1], dtype=torch.int32)
    a, b = numbers(dtype, 4, 3), numbers(dtype, 5, 4, seed=1)
    given = a, scale, zero, b, scales(5), torch.arange(5).to(dtype), third
    settings = {"transA": 1, "transB": 1, "alpha": 0.5, "domain": MICROSOFT}
    same_as_runtime("QGemm", *given, torch.tensor(2.0), zero, **settings)
    same_as_runtime("QGemm", *given, **settings)
    plain = a, scale, zero, b.t().contiguous(), scale, zero
    same_as_runtime("QGemm", *plain, None, scale, zero, transA=1, domain=MICROSOFT)


@pytest.mark.parametrize("dtype", TYPES)
def test_quantised_convolutions_are_those_of_the_runtime(dtype: torch.dtype) -> None:
    x, w = numbers(dtype, 1, 4, 6, 5), numbers(dtype, 6, 2, 3, 3, seed=1)
    zero, scale = torch.tensor(7, dtype=dtype), torch.tensor(0.02)
    bias = torch.tensor([-500, 3, 999, 0, 1, -2], dtype=torch.int32)
    settings: dict[str, Any] = {"group": 2, "pads": [1, 0, 1, 2], "strides": [2, 1]}
    given = x, scale, zero, w, scales(6), torch.zeros(6).to(dtype), torch.tensor(3.0), zero
    same_as_runtime("QLinearConv", *given, bias, **settings)
    same_as_runtime("QLinearConv", *given, **settings)
    number = numbers(torch.uint8, 1, 4, 6, 5), w, torch.tensor(5, dtype=torch.uint8)
    same_as_runtime("ConvInteger", *number, zero, **settings)
    same_as_runtime("ConvInteger", *number[:2], **settings)


def test_channels_may_come_last() -> None:
    x, w = numbers(torch.uint8, 1, 6, 5, 4), numbers(torch.int8, 6, 4, 3, 3)
    zero, scale = torch.tensor(7, dtype=torch.uint8), torch.tensor(0.02)
    same_as_runtime(
        "QLinearConv",
        *(x, scale, zero, w, scale, torch.tensor(0, dtype=torch.int8)),
        *(torch.tensor(3.0), zero),
        channels_last=1,
        domain=MICROSOFT,
    )


def test_gradients_reach_quantised_weights() -> None:
    x, zero = numbers(torch.uint8, 1, 1, 3), torch.tensor(0, dtype=torch.uint8)
    scale, weight_scales = torch.tensor(0.5), torch.tensor([0.25, 2.0])
    weight = torch.tensor([[[1.0, 2.0]], [[-2.0, 4.0]]], requires_grad=True)
    stored = weight / weight_scales.reshape(2, 1, 1)
    zeros, far = torch.zeros(2, dtype=torch.int8), torch.tensor(0, dtype=torch.int16)
    y = apply("QLinearConv", x, scale, zero, stored, weight_scales, zeros, scale, far)
    (y * scale).sum().backward()
    # The slope of a sum of windows is the sum of the real values under each tap.
    values = x.float() * scale
    expected = torch.stack([values[..., :2].sum(), values[..., 1:].sum()])
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, expected.expand(2, 1, 2))


def test_zero_points_may_be_of_rows() -> None:
    a, b = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8), torch.eye(2)
    zeros = torch.tensor([1, 3], dtype=torch.uint8)
    assert apply("MatMulInteger", a, b, zeros).tolist() == [[0, 1], [0, 1]]
