from typing import Any

import pytest
import torch
from onnx import TensorProto
from torch import tensor

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.reimport.dtypes import precision
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample

WITHOUT_TYPE = ("FLOAT8", "FLOAT4", "INT4", "INT2")


def typed(names: list[str]) -> list[Any]:
    return [
        each
        for each in cases(names)
        if not any(f"to_{end}" in f"{each.id}".replace("_U", "_") for end in WITHOUT_TYPE)
    ]


@pytest.mark.parametrize("case", typed(["Cast", "CastLike", "BitCast"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


def test_casts_between_floats_have_their_gradients() -> None:
    for number in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
        gradients_hold("Cast", sample(3), to=int(number))
    gradients_hold("CastLike", sample(3), sample(1).double())


def test_half_precision_is_not_rounded_to() -> None:
    x = tensor([1.0001])
    found = apply("Cast", x, to=int(TensorProto.FLOAT16))
    assert (found.dtype, found.tolist()) == (torch.float32, x.tolist())


def test_single_precision_is_the_precision_of_the_module() -> None:
    with precision(torch.float64):
        assert apply("Cast", tensor([1]), to=int(TensorProto.FLOAT)).dtype == torch.float64


def test_fractions_are_cut_off_and_integers_wrap() -> None:
    whole = apply("Cast", tensor([1.9, -1.9]), to=int(TensorProto.INT64))
    assert whole.tolist() == [1, -1]
    assert apply("Cast", tensor([200]), to=int(TensorProto.INT8)).tolist() == [-56]


def test_a_type_is_a_name_in_the_first_version() -> None:
    assert apply("Cast", tensor([1.5]), to="INT32", opset=1).dtype == torch.int32
    with pytest.raises(InputError) as caught:
        apply("Cast", tensor([1.5]), to="NUMBER", opset=1)
    assert str(caught.value) == "Cast to 'NUMBER', which is no element type"


def test_a_type_that_torch_lacks_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        apply("Cast", tensor([1.5]), to=int(TensorProto.FLOAT8E5M2))
    assert str(caught.value) == ("values of type FLOAT8E5M2 cannot be computed with gradients")


def test_bits_of_single_precision_are_those_of_the_file() -> None:
    bits = tensor([1065353216], dtype=torch.int32)
    with precision(torch.float64):
        one = apply("BitCast", bits, to=int(TensorProto.FLOAT))
        assert (one.dtype, one.tolist()) == (torch.float64, [1.0])
        assert apply("BitCast", one, to=int(TensorProto.INT32)).tolist() == bits.tolist()


@pytest.mark.parametrize(
    ("number", "x", "message"),
    [
        (
            TensorProto.FLOAT16,
            tensor([1], dtype=torch.int16),
            "BitCast to half precision, which is computed in single",
        ),
        (
            TensorProto.INT16,
            tensor([1.0]),
            "BitCast of half precision, which is computed in single",
        ),
        (TensorProto.INT64, tensor([1.0]), "BitCast of 4 bytes to 8"),
    ],
)
def test_bits_that_are_not_there_are_refused(
    number: int, x: torch.Tensor, message: str
) -> None:
    with pytest.raises((InputError, UnsupportedError)) as caught:
        apply("BitCast", x, to=int(number))
    assert str(caught.value) == message
