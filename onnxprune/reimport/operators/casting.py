"""Changes element types; half precision is a cast to the type that it is computed in."""

import onnx
import torch
from torch import Tensor

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.reimport.dtypes import float_type, torch_type
from onnxprune.reimport.operators.unsigned import SIGNED
from onnxprune.reimport.registry import operator

SINGLE = 4
"""Bytes of a number in single precision."""


@operator("Cast")
def cast(x: Tensor, *, to: int | str, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """Change the element type; fractions are cut off, and too large integers wrap."""
    if isinstance(to, str):
        numbers = dict(onnx.TensorProto.DataType.items())
        if to not in numbers:
            raise InputError(f"Cast to '{to}', which is no element type")
        to = numbers[to]
    return x.to(torch_type(int(to)))


@operator("CastLike")
def cast_like(
    x: Tensor, other: Tensor, *, saturate: int = 1, round_mode: str = "up"
) -> Tensor:
    """Change the element type to that of another tensor."""
    return x.to(other.dtype)


@operator("BitCast")
def reinterpret(x: Tensor, *, to: int) -> Tensor:
    """Read the same bits as another type."""
    halves = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    if to in halves:
        raise UnsupportedError("BitCast to half precision, which is computed in single")
    target = torch.float32 if to == onnx.TensorProto.FLOAT else torch_type(to)
    if x.is_floating_point() and target.itemsize < SINGLE:
        raise UnsupportedError("BitCast of half precision, which is computed in single")
    if x.dtype == float_type() and target.itemsize == SINGLE:
        x = x.to(torch.float32)
    if x.dtype.itemsize != target.itemsize:
        raise InputError(f"BitCast of {x.dtype.itemsize} bytes to {target.itemsize}")
    bits = x.view(SIGNED[x.dtype]) if x.dtype in SIGNED else x
    result = bits.view(target)
    return result.to(float_type()) if to == onnx.TensorProto.FLOAT else result
