"""The values of a model's tensors, whatever their type and wherever they lie."""

import numpy as np
import onnx
from onnx import numpy_helper

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Constant
from onnxprune.formats.onnx_tensor import TensorRecord
from onnxprune.formats.onnx_types import element_count, needed_bytes, type_name
from onnxprune.formats.wire import read_exactly
from onnxprune.types import Array

SMALL = 1024
"""Elements of tensors that may be part of a shape."""

WHOLE = ("INT64", "INT32")


class Constants:
    """The tensors of the main graph, read when they are asked for."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self._scope = model.graph.scopes[0]

    def __contains__(self, name: str) -> bool:
        return name in self._scope.constants

    def names(self) -> list[str]:
        """Return the names of all constants, in the order of the file."""
        return list(self._scope.constants)

    def find(self, name: str) -> Constant:
        """Return a constant by its name in the graph."""
        return self._scope.constants[name]

    def read(self, name: str) -> Array:
        """Return all values of a constant."""
        record = self._scope.constants[name].record
        return np.asarray(numpy_helper.to_array(message_of(self.model, record)))

    def small(self, name: str) -> Array | None:
        """Return the values of a small constant; None for others."""
        constant = self._scope.constants.get(name)
        if constant is None or element_count(constant.record) > SMALL:
            return None
        return self.read(name) if type_name(constant.record) != "STRING" else None

    def integers(self, name: str) -> Array | None:
        """Return the values of a small constant of whole numbers; None for others."""
        if type_name(self._scope.constants[name].record) not in WHOLE:
            return None
        return self.small(name)


def message_of(model: OnnxModel, record: TensorRecord) -> onnx.TensorProto:
    """Return a tensor with its values in it."""
    if record.address[-2] == 7:  # the floats of an attribute have no message of their own
        tensor = model.tensor(record)
        return numpy_helper.from_array(tensor.stored(0, tensor.size))
    if record.external is None:
        start, end = record.frame.start, record.frame.end
        data = read_exactly(model.source.descriptor, start, end - start)
        read: onnx.TensorProto = onnx.TensorProto.FromString(data)
        return read
    made = onnx.TensorProto(data_type=record.data_type, dims=record.dims)
    file = model.files[record.external.entries["location"]]
    length = needed_bytes(type_name(record), element_count(record))
    made.raw_data = read_exactly(file.descriptor, model.offsets[record.address], length)
    return made
