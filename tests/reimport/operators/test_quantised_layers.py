"""ONNX Runtime's operators on quantised values, beside the runtime itself."""

import pytest
import torch

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import apply, same_as_runtime
from tests.reimport.operators.test_quantised import MICROSOFT, TYPES, numbers


@pytest.fixture(params=TYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


def factors(dtype: torch.dtype, scale: float, zero: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(scale), torch.tensor(zero, dtype=dtype)


@pytest.mark.parametrize("name", ["QLinearAdd", "QLinearMul"])
def test_two_inputs(name: str, dtype: torch.dtype) -> None:
    a, b = numbers(dtype, 2, 3), numbers(dtype, 1, 3, seed=1)
    first, second = factors(dtype, 0.02, 7), factors(dtype, 0.03, 9)
    given = a, *first, b, *second
    same_as_runtime(name, *given, *factors(dtype, 0.05, 11), domain=MICROSOFT)


def test_one_input(dtype: torch.dtype) -> None:
    given = numbers(dtype, 3, 5), *factors(dtype, 0.02, 7), *factors(dtype, 0.01, 3)
    same_as_runtime("QLinearSigmoid", *given, domain=MICROSOFT)
    same_as_runtime("QLinearLeakyRelu", *given, alpha=0.2, domain=MICROSOFT)


@pytest.mark.parametrize("channels_last", [0, 1])
def test_pools(dtype: torch.dtype, channels_last: int) -> None:
    given = numbers(dtype, 2, 6, 5, 3), *factors(dtype, 0.0171, 7), *factors(dtype, 0.0307, 3)
    settings = {"channels_last": channels_last, "domain": MICROSOFT}
    same_as_runtime("QLinearGlobalAveragePool", *given, **settings)
    same_as_runtime("QLinearAveragePool", *given, kernel_shape=[3, 2], **settings)
    same_as_runtime(
        "QLinearAveragePool",
        *given,
        kernel_shape=[2, 2],
        pads=[1, 1, 1, 1],
        count_include_pad=1,
        **settings,
    )


def test_several_inputs(dtype: torch.dtype) -> None:
    left = numbers(dtype, 2, 3), *factors(dtype, 0.02, 7)
    right = numbers(dtype, 2, 3, seed=1), *factors(dtype, 0.05, 1)
    out = factors(dtype, 0.03, 3)
    same_as_runtime("QLinearConcat", *out, *left, *right, axis=1, domain=MICROSOFT)
    condition = torch.tensor([[True, False, True]])
    same_as_runtime("QLinearWhere", condition, *left, *right, *out, domain=MICROSOFT)


def test_gradients_go_straight_through() -> None:
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    first, second = factors(torch.uint8, 0.5, 0), factors(torch.uint8, 0.25, 0)
    given = a, *first, torch.tensor([4.0, 8.0]), *first
    total = apply("QLinearAdd", *given, *second, domain=MICROSOFT)
    assert total.tolist() == [10, 20]
    (slope,) = torch.autograd.grad(total.sum(), a)
    assert slope.tolist() == [2, 2]  # steps of 0.5 in, of 0.25 out


def test_a_result_without_a_zero_point_is_of_its_inputs_type() -> None:
    scale, zero = factors(torch.int8, 1.0, 0)
    x = torch.tensor([-500.0, 500.0])
    given = x, scale, zero, x, scale, zero
    found = apply("QLinearAdd", *given, scale, None, domain=MICROSOFT)
    assert found.tolist() == [-128, 127]
    with pytest.raises(UnsupportedError) as error:
        apply("QLinearSigmoid", x, scale, None, scale, None, domain=MICROSOFT)
    assert error.value.message == ("a quantised result has no zero point that says its type")
