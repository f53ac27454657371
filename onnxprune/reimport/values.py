"""Turns arrays into what programs compute with, and back; knows nothing of nodes.

Half precision becomes the type that single precision is computed in. Numbers of types that torch
does not have (eight bits and fewer of floats, four and fewer of integers) are held in a float
tensor that remembers their type. Texts and complex numbers stay arrays.
"""

from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import Tensor

from onnxprune.reimport.dtypes import HALF, PLAIN, float_type, torch_type
from onnxprune.types import Array

NARROW = "narrow_type"
"""The attribute of a tensor that holds the number of its element type."""

NO_TENSORS = {TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128}
WIDE = {*PLAIN, *HALF, TensorProto.FLOAT, TensorProto.DOUBLE}


def to_value(array: Any, device: torch.device | None = None) -> Any:
    """Return an array, or a list of arrays, as programs compute with it."""
    if isinstance(array, list):
        return [to_value(each, device) for each in array]
    if array is None or isinstance(array, Tensor):
        return array
    array = np.asarray(array)
    number = TensorProto.STRING
    if array.dtype.kind not in "OUS":
        number = helper.np_dtype_to_tensor_dtype(array.dtype)
    if number in NO_TENSORS:
        return array
    if number == TensorProto.BFLOAT16 or number not in WIDE:
        array = array.astype(np.float32)
    # A copy: torch takes no array that must not be written to.
    tensor = torch.from_numpy(np.array(array, order="C"))
    if number in WIDE:
        return tensor.to(device, torch_type(number))
    tensor = tensor.to(device, float_type())
    setattr(tensor, NARROW, number)
    return tensor


def to_array(value: Any) -> Any:
    """Return a value as an array, or a list of them."""
    if isinstance(value, (list, tuple)):
        return [to_array(each) for each in value]
    if not isinstance(value, Tensor):
        return value
    array: Array = value.detach().cpu().numpy()
    narrow = getattr(value, NARROW, None)
    if narrow is not None:
        return array.astype(helper.tensor_dtype_to_np_dtype(narrow))
    return array


def element_type(value: Any) -> int:
    """Return the number of a value's element type; single precision for what stands for it."""
    if isinstance(value, (list, tuple)):
        return element_type(value[0]) if value else TensorProto.FLOAT
    if not isinstance(value, Tensor):
        array = np.asarray(value)
        if array.dtype.kind in "OUS":
            return int(TensorProto.STRING)
        return helper.np_dtype_to_tensor_dtype(array.dtype)
    narrow = getattr(value, NARROW, None)
    if narrow is not None:
        return int(narrow)
    if value.dtype == float_type():
        return int(TensorProto.FLOAT)
    if value.dtype == torch.float64:
        return int(TensorProto.DOUBLE)
    return next((number for number, own in PLAIN.items() if own == value.dtype), 0)


def carries_gradient(value: Any) -> bool:
    """Whether a value is of a kind that a gradient could flow through."""
    if isinstance(value, (list, tuple)):
        return any(carries_gradient(each) for each in value)
    return isinstance(value, Tensor) and value.is_floating_point()
