"""The torch types of ONNX element types: half precision is computed in the type of the rest."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import onnx
import torch

from onnxprune.errors import UnsupportedError

Types = onnx.TensorProto
PLAIN: dict[int, torch.dtype] = {
    Types.INT8: torch.int8,
    Types.INT16: torch.int16,
    Types.INT32: torch.int32,
    Types.INT64: torch.int64,
    Types.UINT8: torch.uint8,
    Types.UINT16: torch.uint16,
    Types.UINT32: torch.uint32,
    Types.UINT64: torch.uint64,
    Types.BOOL: torch.bool,
}
HALF: set[int] = {Types.FLOAT16, Types.BFLOAT16}
_precision: ContextVar[torch.dtype] = ContextVar("precision", default=torch.float32)


def torch_type(number: int) -> torch.dtype:
    """Return the type that values of an ONNX element type are computed in."""
    if number in PLAIN:
        return PLAIN[number]
    if number == Types.FLOAT or number in HALF:
        return _precision.get()
    if number == Types.DOUBLE:
        return torch.float64
    name = Types.DataType.Name(number) if number in Types.DataType.values() else str(number)
    raise UnsupportedError(f"values of type {name} cannot be computed with gradients")


def float_type() -> torch.dtype:
    """Return the type that single precision is computed in: float32, or float64 if asked."""
    return _precision.get()


@contextlib.contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Compute single and half precision in another type for a while."""
    token = _precision.set(dtype)
    try:
        yield
    finally:
        _precision.reset(token)
