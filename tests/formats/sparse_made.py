"""Models with sparse tensors made by hand, in every form there is, and what they mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.formats.files_made import FLOAT, varint

Array = NDArray[Any]
INT8, INT16, INT32, INT64 = 3, 5, 6, 7
VALUE, OTHERS = [2.0, -1.0, 0.5], [1, 5, 11]
SHAPE = (4, 3)


def whole(values: Sequence[float] = VALUE, places: Sequence[int] = OTHERS) -> Array:
    """Spread values over the shape."""
    array = np.zeros(SHAPE, np.float32)
    array.reshape(-1)[list(places)] = values
    return array


def floats(values: Sequence[float] = VALUE, name: str = "w") -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def indices(places: Any, kind: int = INT64, raw: bool = True) -> TensorProto:
    """Make indices, as raw data or as numbers of varying width."""
    array = np.array(places)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if raw:
        return numpy_helper.from_array(array.astype(dtype), "")
    return helper.make_tensor("", kind, array.shape, array.reshape(-1).tolist())


def sparse(
    values: TensorProto | None = None,
    places: TensorProto | None = None,
    shape: Sequence[int] = SHAPE,
) -> onnx.SparseTensorProto:
    made = onnx.SparseTensorProto(values=values if values is not None else floats())
    made.indices.CopyFrom(places if places is not None else indices(OTHERS))
    made.dims.extend(shape)
    return made


def product(ir_version: int = 8) -> onnx.ModelProto:
    """Multiply an input by a weight that is to be added."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    ports = [
        helper.make_tensor_value_info(*port) for port in (("x", 1, (2, 4)), ("y", 1, (2, 3)))
    ]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:])
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, ir_version=ir_version, opset_imports=[opset])


def with_sparse(tensor: onnx.SparseTensorProto) -> onnx.ModelProto:
    model = product()
    model.graph.sparse_initializer.append(tensor)
    return model


def with_dense(array: Array) -> onnx.ModelProto:
    """Make the model that one with a sparse tensor is to become."""
    model = product()
    model.graph.initializer.append(numpy_helper.from_array(array, "w"))
    return model


def constant(tensor: onnx.SparseTensorProto | None, array: Array | None = None) -> Any:
    """Make a model whose weight is a Constant node."""
    given = {"sparse_value": tensor} if tensor is not None else {}
    if array is not None:
        given = {"value": numpy_helper.from_array(array, "w")}
    model = product()
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], "given", **given))
    return model


def choice(tensor: onnx.SparseTensorProto | None, array: Array | None = None) -> Any:
    """Make a model whose weight lies in both branches of an If."""
    body = product().graph
    if tensor is not None:
        body.sparse_initializer.append(tensor)
    else:
        body.initializer.append(numpy_helper.from_array(array, "w"))
    given, result = body.input.pop(), body.output[0]
    node = helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body)
    flag = helper.make_tensor_value_info("c", TensorProto.BOOL, ())
    output = helper.make_tensor_value_info("z", FLOAT, (2, 3))
    del result
    graph = helper.make_graph([node], "g", [given, flag], [output])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


def function(tensor: onnx.SparseTensorProto | None, array: Array | None = None) -> Any:
    """Make a model whose weight is a Constant node of a function."""
    inner = constant(tensor, array).graph
    opset = helper.make_opsetid("", 18)
    body = helper.make_function("my", "F", ["x"], ["y"], list(inner.node), [opset])
    ports = [
        helper.make_tensor_value_info(*port) for port in (("x", 1, (2, 4)), ("y", 1, (2, 3)))
    ]
    graph = helper.make_graph(
        [helper.make_node("F", ["x"], ["y"], domain="my")], "g", ports[:1], ports[1:]
    )
    opsets = [opset, helper.make_opsetid("my", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets, functions=[body])


def save(path: Path, model: onnx.ModelProto | bytes) -> Path:
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def wide(number: int, content: bytes) -> bytes:
    """Write a field with more bytes in its tag and length than they need."""
    return varint(number << 3 | 2, 4) + varint(len(content), 5) + content
