"""One small model with everything in it that tools are known to lose."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.formats.files_made import FLOAT


def weight(name: str, shape: tuple[int, ...], seed: int = 0, dtype: Any = np.float32) -> Any:
    values = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return numpy_helper.from_array(values, name)


def value(name: str, shape: tuple[int, ...], kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def branch(name: str, seed: int) -> onnx.GraphProto:
    node = helper.make_node("MatMul", ["h", "w"], [f"{name}_out"], f"{name}_product")
    output = value(f"{name}_out", (2, 8))
    return helper.make_graph([node], name, [], [output], [weight("w", (8, 8), seed)])


def nodes() -> list[onnx.NodeProto]:
    made = [
        helper.make_node("MatMul", ["x", "tied"], ["h"], "first"),
        helper.make_node("MatMul", ["h", "tied"], ["again"], "second", doc_string="a node"),
        helper.make_node("F", ["again"], ["f"], "call", domain="my"),
        helper.make_node("Constant", [], ["k"], "constant", value=weight("", (8, 8), 5)),
        helper.make_node("MatMul", ["f", "k"], ["fk"], "third"),
        helper.make_node("If", ["c"], ["y"], "choice"),
        helper.make_node("Cast", ["fk"], ["wide"], "widen", to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["wide", "double"], ["z"], "fourth"),
        helper.make_node("Gather", ["table", "ids"], ["rows"], "look up"),
        helper.make_node("Transpose", ["table"], ["turned"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["h", "turned"], ["logits"], "head"),
        helper.make_node("MatMul", ["h", "typed"], ["t"], "fifth"),
    ]
    made[0].metadata_props.add(key="from", value="a node")
    branches = {"then_branch": branch("t", 6), "else_branch": branch("e", 7)}
    made[5].attribute.extend(helper.make_attribute(*pair) for pair in branches.items())
    return made


def function(opset: onnx.OperatorSetIdProto) -> onnx.FunctionProto:
    body = [
        helper.make_node("Constant", [], ["k"], value=weight("", (8, 8), 9)),
        helper.make_node("MatMul", ["v", "k"], ["r"]),
    ]
    return helper.make_function("my", "F", ["v"], ["r"], body, [opset])


def rich() -> onnx.ModelProto:
    """Build a model with everything that pruners are known to lose."""
    typed = helper.make_tensor("typed", FLOAT, (8, 8), np.linspace(-1, 1, 64))
    initializers = [
        weight("tied", (8, 8), 1),
        weight("unused", (3, 3), 2),
        weight("double", (8, 8), 3, np.float64),
        typed,
        weight("table", (11, 8), 4),
    ]
    outputs = [value(name, (2, 8)) for name in ("y", "t", "rows")]
    outputs += [value("z", (2, 8), TensorProto.DOUBLE), value("logits", (2, 11))]
    graph = helper.make_graph(
        nodes(),
        "the graph",
        [value("x", (2, 8)), value("c", (), TensorProto.BOOL), value("ids", (2,), 7)],
        outputs,
        initializers,
        doc_string="a graph",
        value_info=[value("h", (2, 8))],
    )
    graph.initializer[0].doc_string = "a tensor"
    indices = numpy_helper.from_array(np.array([1, 3], np.int64), "places")
    sparse = helper.make_sparse_tensor(weight("thin", (2,), 8), indices, [16])
    graph.sparse_initializer.append(sparse)
    graph.quantization_annotation.add(tensor_name="h")
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(
        graph,
        producer_name="someone",
        producer_version="7",
        domain="org.example",
        model_version=41,
        doc_string="a model",
        ir_version=9,
        functions=[function(opset)],
        opset_imports=[
            opset,
            helper.make_opsetid("my", 1),
            helper.make_opsetid("ai.onnx.ml", 3),
        ],
    )
    for text in ("first", "second"):
        model.metadata_props.add(key="the same key", value=text)
    model.training_info.add().initialization.initializer.append(weight("trained", (4, 4), 10))
    return model
