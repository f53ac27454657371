"""Reads the tensors of a model file, whatever way they are stored, and keeps the parameters."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from onnxprune.errors import InputError
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Address, Constant
from onnxprune.formats.onnx_tensor import TensorRecord
from onnxprune.formats.onnx_types import STORAGE, element_count, needed_bytes, type_name
from onnxprune.formats.wire import read_exactly
from onnxprune.reimport.dtypes import float_type
from onnxprune.reimport.roles import is_trainable
from onnxprune.reimport.values import to_value
from onnxprune.types import Array

TRAINABLE = {"FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"}
SPARSE = 15
SPARSE_ATTRIBUTE = 22


@dataclass(frozen=True, slots=True, eq=False)
class Coding:
    """How the integers of a quantised tensor follow from its real values."""

    scale: Tensor
    zero: Tensor

    def __call__(self, real: Tensor) -> Tensor:
        """Return the numbers that are stored for real values, unrounded."""
        return real / self.scale + self.zero


@dataclass(slots=True, eq=False)
class Store:
    """The tensors of one model.

    Args:
        model: the open file.
        device: where floats are computed.
        parameters: those that can be trained, by path, in the order of their first use.
        codings: how the quantised ones among them are stored.
    """

    model: OnnxModel
    device: torch.device
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)
    codings: dict[str, Coding] = field(default_factory=dict)
    _values: dict[str, object] = field(default_factory=dict)

    def fetch(self, constant: Constant) -> object | None:
        """Return the value of a constant, or None if it is a parameter, which is kept here."""
        path = constant.path
        if path in self.parameters:
            return None
        if path not in self._values:
            if self._is_parameter(constant):
                self._add(constant)
                return None
            self._values[path] = self.placed(read_array(self.model, constant.record))
        return self._values[path]

    def placed(self, array: Array) -> object:
        """Return an array as a value, floats on the device and the rest on the processor."""
        value = to_value(array)
        if isinstance(value, Tensor) and value.is_floating_point():
            moved = value.to(self.device)
            return moved if moved is value else to_value(array, self.device)
        return value

    def sparse(self, address: Address, dims: Iterable[int]) -> object:
        """Return a sparse tensor at an address as a dense value."""
        tensors = self.model.scan.tensors
        values = read_array(self.model, tensors[(*address, 1, 0)])
        indices = read_array(self.model, tensors[(*address, 2, 0)])
        return self.placed(dense(values, indices, tuple(dims)))

    def forget(self) -> None:
        """Let go of the constants, which programs have where they need them."""
        self._values.clear()

    def _is_parameter(self, constant: Constant) -> bool:
        if constant.path in self.model.findings:
            return True
        kind = type_name(constant.record)
        return kind in TRAINABLE and is_trainable(self.model.graph, constant)

    def _add(self, constant: Constant) -> None:
        path, record = constant.path, constant.record
        stored = self.model.tensor(record)
        if path in self.model.findings:
            stored = self.model.stored(path)
        double = stored.kind == "DOUBLE"
        dtype = torch.float64 if double else float_type()
        shape = tuple(record.dims)
        empty = stored.size == 0
        values = np.zeros(shape) if empty else np.array(stored.values(0, stored.size))
        values = values.reshape(shape)
        parameter = torch.from_numpy(values).to(self.device, dtype)
        self.parameters[path] = nn.Parameter(parameter)
        if stored.quantization is not None:
            scale, zero = stored.quantization.at(0, stored.size)
            # A scale of zero gives zero whatever the number is.
            pair = (np.where(scale == 0, 1.0, scale), zero)
            scales, zeros = (
                torch.from_numpy(_spread(part, shape)).to(self.device, dtype) for part in pair
            )
            self.codings[path] = Coding(scales, zeros)


def read_array(model: OnnxModel, record: TensorRecord) -> Array:
    """Read a tensor of any type as an array in its shape."""
    kind, shape = type_name(record), tuple(record.dims)
    if kind in STORAGE and kind != "BFLOAT16":
        stored = model.tensor(record)
        if stored.size == 0:
            return np.zeros(shape, STORAGE[kind])
        return stored.stored(0, stored.size).reshape(shape)
    proto = read_message(model, record)
    try:
        array: Array = numpy_helper.to_array(proto)
    except (ValueError, TypeError) as error:
        raise InputError(f"'{record.name}': its data cannot be read") from error
    return array


def read_message(model: OnnxModel, record: TensorRecord) -> onnx.TensorProto:
    """Read a tensor as a message that holds its data."""
    frame, source = record.frame, model.source.descriptor
    data = read_exactly(source, frame.start, frame.end - frame.start)
    proto: onnx.TensorProto = onnx.TensorProto.FromString(data)
    if record.external is not None:
        file = model.files[record.external.entries["location"]]
        length = needed_bytes(type_name(record), element_count(record))
        start = model.offsets[record.address]
        proto.raw_data = read_exactly(file.descriptor, start, length)
        proto.ClearField("external_data")
        proto.data_location = onnx.TensorProto.DEFAULT
    return proto


def dense(values: Array, indices: Array, shape: tuple[int, ...]) -> Array:
    """Spread the values of a sparse tensor over its shape."""
    array = np.zeros(shape, values.dtype)
    try:
        flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
        array.reshape(-1)[flat] = values
    except (IndexError, ValueError) as error:
        raise InputError(
            f"a sparse tensor of shape {list(shape)} has indices outside"
        ) from error
    return array


def _spread(part: Array, shape: tuple[int, ...]) -> Array:
    return np.array(part.reshape(()) if part.size == 1 else part.reshape(shape))
