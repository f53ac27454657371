"""Messages of the onnx package without the data of their tensors, to be compared."""

from typing import Any

from onnx import TensorProto

DATA = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
DATA = (*DATA, "raw_data", "string_data")


def bare(message: Any) -> Any:
    """Clear the data of every tensor in a proto, however deep it lies."""
    if isinstance(message, TensorProto):
        for name in (*DATA, "external_data", "data_location"):
            message.ClearField(name)
        return message
    for _, value in message.ListFields():
        for part in value if hasattr(value, "__len__") else [value]:
            if hasattr(part, "ListFields"):
                bare(part)
    return message
