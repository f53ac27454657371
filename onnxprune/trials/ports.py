"""A model's inputs and outputs, as its graph declares them."""

import onnx

from onnxprune.errors import InputError
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.outcomes import ANY, Port

NUMPY_NAMES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.UINT32: "uint32",
    onnx.TensorProto.UINT64: "uint64",
    onnx.TensorProto.BOOL: "bool",
    onnx.TensorProto.STRING: "str",
}


def input_ports(model: Model) -> list[Port]:
    """Return the inputs that a caller has to give: those without an initializer."""
    if not isinstance(model, OnnxModel):
        return [Port(name, ANY, None) for name in model.survey.inputs]
    graph = model.graph.model.graph
    given = {tensor.name for tensor in graph.initializer}
    given |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [_port(value) for value in graph.input if value.name not in given]


def output_ports(model: Model) -> list[Port]:
    """Return the outputs, as far as they are known before the model runs."""
    if not isinstance(model, OnnxModel):
        return []
    return [_port(value) for value in model.graph.model.graph.output]


def check_same_ports(dense: Model, pruned: Model) -> None:
    """Refuse two models that do not take the same inputs and give the same outputs."""
    for what, ports in (("inputs", input_ports), ("outputs", output_ports)):
        first = [port.name for port in ports(dense)]
        second = [port.name for port in ports(pruned)]
        if sorted(first) != sorted(second):
            raise InputError(
                f"the models have different {what}: {', '.join(first)} and {', '.join(second)}"
            )


def _port(value: onnx.ValueInfoProto) -> Port:
    if not value.type.HasField("tensor_type"):
        return Port(value.name, None, None)
    tensor = value.type.tensor_type
    dtype = NUMPY_NAMES.get(tensor.elem_type)
    if not tensor.HasField("shape"):
        return Port(value.name, dtype, None)
    dims = (dim.dim_value for dim in tensor.shape.dim)
    return Port(value.name, dtype, tuple(dim if dim > 0 else None for dim in dims))
