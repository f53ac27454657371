from typing import Any

import pytest
import torch
from torch import tensor

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.reimport.operators.arithmetic import BINARY, UNARY, VARIADIC
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample

NAMES = [*UNARY, *BINARY, *VARIADIC, "Mean", "Mod"]


@pytest.mark.parametrize("case", cases(NAMES))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("name", sorted(set(UNARY) - {"Ceil", "Floor", "Round", "Sign"}))
def test_a_function_of_one_number_has_its_gradients(name: str) -> None:
    low = 1.1 if name == "Acosh" else 0.1
    gradients_hold(name, sample(2, 3, low=low, high=low + 0.8), twice=True)


@pytest.mark.parametrize("name", ["Add", "Div", "Mul", "Pow", "Sub", "Max", "Min", "Mod"])
def test_both_operands_have_their_gradients(name: str) -> None:
    settings = {"fmod": 1} if name == "Mod" else {}
    first = sample(2, 3, low=3.1, high=4.9)
    gradients_hold(name, first, sample(3, seed=1, low=2.1, high=2.9), twice=True, **settings)


@pytest.mark.parametrize("name", ["Max", "Min", "Sum", "Mean"])
def test_three_operands_have_their_gradients(name: str) -> None:
    gradients_hold(name, sample(2, 3), sample(3, seed=1), sample(2, 1, seed=2))


def test_rounding_has_gradients_of_zero() -> None:
    x = tensor([0.4, 1.6], requires_grad=True)
    apply("Round", x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0]


def test_a_half_is_rounded_to_the_even_number() -> None:
    assert apply("Round", tensor([0.5, 1.5, 2.5, -0.5])).tolist() == [0.0, 2.0, 2.0, 0.0]


def test_integers_are_divided_towards_zero() -> None:
    assert apply("Div", tensor([-7, 7]), tensor([2, 2])).tolist() == [-3, 3]


def test_a_remainder_has_the_sign_of_the_divisor_or_of_the_dividend() -> None:
    assert apply("Mod", tensor([-7]), tensor([3])).tolist() == [2]
    assert apply("Mod", tensor([-7]), tensor([3]), fmod=1).tolist() == [-1]


def test_a_power_has_the_type_of_its_base() -> None:
    whole = apply("Pow", tensor([4, 9], dtype=torch.int32), tensor([0.5, 0.5]))
    assert (whole.dtype, whole.tolist()) == (torch.int32, [2, 3])
    assert apply("Pow", tensor([2.0]), tensor([3])).dtype == torch.float32


def test_one_exponent_for_all_is_the_same_as_many() -> None:
    x = sample(4, low=-2.0, high=2.0)
    alone = apply("Pow", x, tensor(3.0))
    torch.testing.assert_close(alone, apply("Pow", x, torch.full((4,), 3.0)))
    assert apply("Pow", x, tensor([[2.0]])).shape == (1, 4)


def test_an_exponent_may_carry_a_gradient() -> None:
    exponent = tensor(2.0, requires_grad=True)
    apply("Pow", tensor([1.0, 3.0]), exponent).sum().backward()
    assert exponent.grad is not None
    torch.testing.assert_close(exponent.grad, 9 * torch.log(tensor(3.0)))


def test_an_axis_aligns_the_second_operand_before_opset_7() -> None:
    x, y = tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([10.0, 20.0])
    rows = apply("Add", x, y, broadcast=1, axis=0, opset=6)
    assert rows.tolist() == [[11.0, 12.0], [23.0, 24.0]]
    columns = apply("Add", x, y, broadcast=1, opset=6)
    assert columns.tolist() == [[11.0, 22.0], [13.0, 24.0]]


def test_an_axis_without_room_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        apply("Add", torch.ones(2, 2), torch.ones(2, 2), broadcast=1, axis=1, opset=6)
    assert str(caught.value) == "2 dimensions do not fit into 2 from axis 1 on"


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_unsigned_integers_keep_their_type(dtype: torch.dtype) -> None:
    total = apply("Add", tensor([1, 2]).to(dtype), tensor([3, 4]).to(dtype))
    assert (total.dtype, total.tolist()) == (dtype, [4, 6])


def test_unsigned_integers_wrap() -> None:
    x, y = tensor([65535]).to(torch.uint16), tensor([2]).to(torch.uint16)
    assert apply("Add", x, y).tolist() == [1]
    assert apply("Div", x, y).tolist() == [32767]


def test_unsigned_integers_that_are_too_large_are_refused() -> None:
    huge = tensor([-1]).view(torch.uint64)
    with pytest.raises(UnsupportedError) as caught:
        apply("Div", huge, huge)
    assert str(caught.value) == "unsigned integers from 2**63 on cannot be computed with"
