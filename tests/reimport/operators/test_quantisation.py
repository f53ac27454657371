"""Quantising and back: onnx's node tests, ONNX Runtime beside them, and straight gradients."""

from typing import Any

import onnx
import pytest
import torch
from torch import Tensor

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import apply, cases, run_case, same_as_runtime, sample

NO_ROOM = [
    "test_quantizelinear_float4e2m1",
    "test_quantizelinear_float6e2m3",
    "test_quantizelinear_float6e3m2",
]
"""Cases of types with so few bits that torch has none of them."""


def of(*values: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(values, dtype=dtype)


@pytest.mark.parametrize(
    "case",
    cases(["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"], without=NO_ROOM),
)
def test_node(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.uint16])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_slices_have_scales_of_their_own(dtype: torch.dtype, axis: int) -> None:
    x, scale = sample(4, 4, 4) * 50, sample(4, seed=1, low=0.01, high=0.2)
    zero = torch.tensor([1, 0, 7, 3]).to(dtype)
    same_as_runtime("QuantizeLinear", x, scale, zero, axis=axis)
    numbers = apply("QuantizeLinear", x, scale, zero, axis=axis).to(dtype)
    same_as_runtime("DequantizeLinear", numbers, scale, zero, axis=axis)


def test_blocks_have_scales_of_their_own() -> None:
    x, scale = sample(4, 5) * 50, sample(4, 3, seed=1, low=0.1, high=0.9)
    same_as_runtime("QuantizeLinear", x, scale, None, axis=-1, block_size=2)
    zero = torch.arange(12, dtype=torch.int8).reshape(4, 3)
    same_as_runtime("QuantizeLinear", x, scale, zero, axis=1, block_size=2)
    numbers = torch.arange(20, dtype=torch.int8).reshape(4, 5)
    same_as_runtime("DequantizeLinear", numbers, scale, zero, axis=1, block_size=2)


def test_rounding_is_to_even_and_ends_where_the_type_does() -> None:
    x = of(0.5, 1.5, 2.5, -0.5, 300.0, -300.0)
    found = apply("QuantizeLinear", x, of(1.0), of(0, dtype=torch.int8))
    assert found.tolist() == [0, 2, 2, 0, 127, -128]
    assert apply("QuantizeLinear", x, of(1.0)).tolist() == [0, 2, 2, 0, 255, 0]


def test_a_quantised_value_is_a_whole_number_in_a_float() -> None:
    found = apply("QuantizeLinear", sample(9) * 900, of(0.37), of(3, dtype=torch.uint8))
    assert found.dtype == torch.float32
    assert torch.equal(found, found.round())


def test_there_and_back_the_gradient_goes_straight_through() -> None:
    x = of(-1.0, 0.04, 0.3, 25.0).requires_grad_()
    scale, zero = of(0.1), of(5, dtype=torch.uint8)
    numbers = apply("QuantizeLinear", x, scale, zero)
    (slope,) = torch.autograd.grad(numbers.sum(), x, retain_graph=True)
    assert slope.tolist() == pytest.approx([0, 10, 10, 10])
    values = apply("DequantizeLinear", numbers, scale, zero)
    assert values.tolist() == pytest.approx([-0.5, 0, 0.3, 25])
    (slope,) = torch.autograd.grad(values.sum(), x)
    assert slope.tolist() == pytest.approx([0, 1, 1, 1])


def test_what_is_above_the_range_has_no_slope() -> None:
    x = of(12.0, 13.0).requires_grad_()
    apply("QuantizeLinear", x, of(0.1), of(0, dtype=torch.int8)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([10, 0])


def test_a_weight_given_as_a_number_that_is_not_whole_keeps_its_value() -> None:
    weight, scale, zero = of(0.123, -0.05).requires_grad_(), of(0.01), of(3, dtype=torch.int8)
    found = apply("DequantizeLinear", weight / scale + 3, scale, zero)
    torch.testing.assert_close(found, weight)
    found.sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.ones(2))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (onnx.TensorProto.INT4, [7, -8]),
        (onnx.TensorProto.UINT4, [15, 0]),
        (onnx.TensorProto.INT2, [1, -2]),
        (onnx.TensorProto.UINT2, [3, 0]),
        (onnx.TensorProto.INT16, [32767, -32768]),
        (onnx.TensorProto.FLOAT8E4M3FN, [448, -448]),
        (onnx.TensorProto.FLOAT8E5M2, [57344, -57344]),
    ],
)
def test_the_type_may_be_an_attribute(kind: int, expected: list[float]) -> None:
    x = of(1e6, -1e6)
    assert apply("QuantizeLinear", x, of(1.0), output_dtype=kind).tolist() == expected


def test_eight_bits_of_float_round_and_have_slopes() -> None:
    x, kind = of(0.3, 500.0).requires_grad_(), onnx.TensorProto.FLOAT8E4M3FN
    found = apply("QuantizeLinear", x, of(1.0), output_dtype=kind)
    assert found.tolist() == [0.3125, 448]
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 0]
    with pytest.raises(UnsupportedError) as error:
        apply("QuantizeLinear", x, of(1.0), output_dtype=kind, saturate=0)
    assert error.value.message == "QuantizeLinear to FLOAT8E4M3FN without saturation"


@pytest.mark.parametrize(
    "x", [of(-1.0, 0.0, 2.0), of(1.0, 2.0), of(-3.0, -1.0), of(0.0, 0.0)], ids=str
)
def test_a_range_is_found_as_the_runtime_finds_it(x: Tensor) -> None:
    same_as_runtime("DynamicQuantizeLinear", x, outputs=3)


def test_over_a_range_that_is_found_the_gradient_goes_straight_through() -> None:
    x = of(-1.0, 0.3, 2.0).requires_grad_()
    numbers, scale, zero = apply("DynamicQuantizeLinear", x, outputs=3)
    assert zero.dtype == torch.uint8
    apply("DequantizeLinear", numbers, scale, zero).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones(3))


def test_what_has_no_numbers_is_refused() -> None:
    x, scale = of(1.0), of(1.0)
    with pytest.raises(UnsupportedError) as found:
        apply("QuantizeLinear", x, scale, of(0.0))
    assert found.value.message == (
        "a zero point is no integer, so the type of its result is open"
    )
    with pytest.raises(UnsupportedError) as found:
        apply("QuantizeLinear", x, scale, output_dtype=onnx.TensorProto.FLOAT4E2M1)
    assert found.value.message == (
        "quantising to FLOAT4E2M1 cannot be computed with gradients"
    )
    with pytest.raises(UnsupportedError) as found:
        apply("QuantizeLinear", x, scale, precision=onnx.TensorProto.INT8)
    assert found.value.message == "QuantizeLinear with precision INT8"
    with pytest.raises(UnsupportedError) as found:
        apply("QuantizeLinear", sample(2, 2), sample(2, 2))
    assert found.value.message == ("a scale of 2 dimensions without block_size has no meaning")


@pytest.mark.parametrize(
    "case", [each for each in cases(["QuantizeLinear"]) if each.id in NO_ROOM]
)
def test_types_that_torch_lacks_are_refused(case: Any) -> None:
    with pytest.raises(UnsupportedError, match="cannot be computed with gradients"):
        run_case(case)
