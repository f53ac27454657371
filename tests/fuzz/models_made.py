"""Small models with everything that is looked at in a model, for the corpus of the fuzzer."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.formats.everything import rich
from tests.formats.files_made import (
    BFLOAT16,
    DOUBLE,
    ENCODINGS,
    FLOAT,
    FLOAT16,
    INT8,
    UINT8,
    graph_of,
    model_of,
    one_weight,
    outside,
    scaling,
    some,
    tensor,
)

KINDS = (FLOAT, DOUBLE, FLOAT16, BFLOAT16, INT8, UINT8)
SHAPE = (6, 5)
LONG_SHAPE = (20, 16)
"""Of more bytes than a tensor may have that stays in the skeleton."""

OPSETS = [helper.make_opsetid(*pair) for pair in (("", 21), ("com.microsoft", 1), ("my", 1))]

Files = dict[str, bytes]
"""Files by name; the one that is opened comes first."""


def models() -> Iterator[tuple[str, Files]]:
    """Make all of them, with their names."""
    for kind in KINDS:
        for encoding in ENCODINGS:
            yield f"stored {kind} {encoding}", {"model.onnx": _stored(kind, encoding, SHAPE)}
    for kind in (FLOAT, FLOAT16, UINT8):
        for encoding in ENCODINGS:
            yield (
                f"long {kind} {encoding}",
                {"model.onnx": _stored(kind, encoding, LONG_SHAPE)},
            )
    for name, made in (("rich", rich()), ("layers", _layers()), ("moved", _moved())):
        yield name, {"model.onnx": made.SerializeToString()}
    for name, made in (("functions", _functions()), ("branches", _branches())):
        yield name, {"model.onnx": made.SerializeToString()}
    for name, made in (("quantised", _quantised()), ("odd", _odd()), ("blocks", _blocks())):
        yield name, {"model.onnx": made.SerializeToString()}
    yield "outside", _outside()
    yield "shared bytes", _shared_bytes()


def _stored(kind: int, encoding: str, shape: tuple[int, int]) -> bytes:
    content = tensor("w", kind, some(kind, shape), encoding)
    if kind not in (INT8, UINT8):
        return one_weight(kind, content, shape)
    scale = scaling(kind, np.zeros(shape[1]), np.full(shape[1], 0.5))
    return one_weight(kind, content, shape, *scale)


def _outside() -> Files:
    values = some(FLOAT, SHAPE)
    one = outside("w", FLOAT, SHAPE, location="w.bin", offset=16, length=values.nbytes)
    two = outside("v", FLOAT, SHAPE, location="folder/v.bin")
    model = model_of([one, two], graph_of(FLOAT, SHAPE, ["w", "v"]))
    data = values.tobytes()
    return {"model.onnx": model, "w.bin": bytes(16) + data + bytes(9), "folder/v.bin": data}


def _shared_bytes() -> Files:
    values = some(FLOAT, SHAPE)
    half = values.nbytes // 2
    names = ["a", "b", "c"]
    tensors = [
        outside(name, FLOAT, SHAPE, location="w.bin", offset=at)
        for name, at in zip(names, (0, 0, half), strict=True)
    ]
    data = values.tobytes() + bytes(half)
    return {"model.onnx": model_of(tensors, graph_of(FLOAT, SHAPE, names)), "w.bin": data}


def _weight(name: str, *shape: int, dtype: Any = np.float32) -> TensorProto:
    random = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array((4 * random.standard_normal(shape)).astype(dtype), name)


def _node(text: str, domain: str = "", **attributes: Any) -> onnx.NodeProto:
    """Make a node from `Op input ... -> output ...`, where `_` stands for no input."""
    head, _, outputs = text.partition("->")
    op, *inputs = ("" if word == "_" else word for word in head.split())
    return helper.make_node(op, inputs, outputs.split(), domain=domain, **attributes)


def _model(
    nodes: Sequence[onnx.NodeProto],
    outputs: str,
    weights: Sequence[TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    ports = [helper.make_tensor_value_info("x", FLOAT, [1, 4, 8, 8])]
    results = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs.split()]
    graph = helper.make_graph(nodes, "g", ports, results, weights)
    made = helper.make_model(graph, opset_imports=OPSETS, ir_version=10, functions=functions)
    made.metadata_props.add(key="k", value="v")
    return made


def _layers() -> onnx.ModelProto:
    """Operators of every kind that reads weights."""
    nodes = [
        _node("Conv x cw cb -> c", strides=[1, 1]),
        _node("BatchNormalization c s s s s -> n"),
        _node("ConvTranspose n tw -> t", group=2),
        _node("Gemm t gw cb -> g", transB=1),
        _node("LSTM x lw lr -> l", hidden_size=2),
        _node("Einsum x ew -> e", equation="abcd,de->abce"),
        _node("Gather table x -> r", axis=0),
        _node("FusedMatMul e ew -> f", "com.microsoft", transB=1),
        _node("Add f s -> a"),
        _node("Clip a lo -> y"),
    ]
    weights = [_weight("cw", 4, 4, 3, 3), _weight("cb", 4), _weight("s", 4)]
    weights += [_weight("tw", 4, 2, 1, 1), _weight("gw", 4, 6), _weight("lw", 1, 8, 3)]
    weights += [_weight("lr", 1, 8, 2), _weight("ew", 8, 8), _weight("table", 9, 3)]
    lo = helper.make_tensor("lo", TensorProto.FLOAT16, [3], [1, 2, 4], raw=False)
    return _model(nodes, "y r l g", [*weights, lo])


def _moved() -> onnx.ModelProto:
    """Weights behind operators that only move values."""
    shape = numpy_helper.from_array(np.array([2, 2, -1], np.int64), "shape")
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    sizes = numpy_helper.from_array(np.array([2, 2], np.int64), "sizes")
    nodes = [
        _node("Transpose w -> t", perm=[1, 0]),
        _node("Reshape t shape -> r"),
        _node("MatMul x r -> a"),
        _node("Unsqueeze w axes -> u"),
        _node("Squeeze u axes -> q"),
        _node("Flatten q -> f", axis=1),
        _node("Cast f -> h", to=FLOAT16),
        _node("Gemm x h -> b"),
        _node("Split v sizes -> v1 v2", axis=0),
        _node("Concat v1 v2 -> v3", axis=0),
        _node("Slice v3 axes shape -> v4"),
        _node("MatMul a v4 -> c"),
        _node("Constant -> k", value=_weight("", 4, 4)),
        _node("Constant -> kf", value_floats=[1.0, -2.0, 0.0, 4.0]),
        _node("Constant -> ki", value_ints=[2, 2]),
        _node("Reshape kf ki -> kr"),
        _node("MatMul k kr -> d"),
        _node("Identity d -> y"),
    ]
    return _model(nodes, "y b c", [_weight("w", 4, 4), _weight("v", 4, 4), shape, axes, sizes])


def _functions() -> onnx.ModelProto:
    """Functions that call one another, take attributes, and hold constants."""
    reference = AttributeProto(name="transB", ref_attr_name="turned", type=AttributeProto.INT)
    product = _node("Gemm a b -> c")
    product.attribute.append(reference)
    inner = helper.make_function(
        "my",
        "Inner",
        ["a", "b"],
        ["c"],
        [product],
        OPSETS[:1],
        ["turned"],
        [helper.make_attribute("kept", 1)],
    )
    body = [
        _node("Constant -> k", value=_weight("", 4, 4)),
        _node("Inner v k -> m", "my", turned=1),
        _node("Inner m w -> o", "my"),
        _node("Identity w -> p"),
    ]
    outer = helper.make_function("my", "Outer", ["v", "w"], ["o", "p"], body, OPSETS)
    nodes = [
        _node("Outer x w -> a b", "my"),
        _node("Outer a b -> c d", "my"),
        _node("MatMul c d -> y"),
    ]
    return _model(nodes, "y", [_weight("w", 4, 4)], [inner, outer])


def _branches() -> onnx.ModelProto:
    """Subgraphs that use what is around them, shadow it, and hand weights out."""

    def body(name: str, *inputs: str) -> onnx.GraphProto:
        ports = [helper.make_tensor_value_info(each, FLOAT, None) for each in inputs]
        result = [helper.make_tensor_value_info(each, FLOAT, None) for each in ("r", "w")]
        node = _node("MatMul x w -> r")
        return helper.make_graph([node], name, ports, result, [_weight("w", 4, 4)])

    empty = helper.make_graph([_node("MatMul x outer -> r")], "e", [], body("x").output[:1])
    nodes = [
        _node("If c -> a a2", then_branch=body("then"), else_branch=empty),
        _node("Loop n c a -> b", body=body("body", "i", "go", "v")),
        _node("Scan a b -> s", body=body("scan", "p", "q"), num_scan_inputs=1),
        _node(
            "Odd s -> y", "my", bodies=[body("one"), body("two")], tensors=[_weight("t", 3)]
        ),
        _node("Gemm y a2 -> z"),
    ]
    return _model(nodes, "y z", [_weight("outer", 4, 4)])


def _quantised() -> onnx.ModelProto:
    """Integers with scales of every form."""
    integers = [_weight(name, 4, 4, dtype=np.int8) for name in ("a", "b", "c", "z8")]
    nodes = [
        _node("DequantizeLinear a s4 z4 -> ar", axis=1),
        _node("MatMul x ar -> p"),
        _node("QLinearConv x s z b4 s4 z4 s z -> q"),
        _node("MatMulInteger x c z zs -> i"),
        _node("Cast i -> f", to=FLOAT),
        _node("Mul s s -> ss"),
        _node("Mul f ss -> m"),
        _node("QLinearMatMul x s z b s z s z -> y"),
        _node("MatMulIntegerToFloat x c s s z zs -> y2", "com.microsoft"),
    ]
    scales = [_weight("s4", 4), _weight("s", 1), _weight("b4", 4, 1, 2, 2, dtype=np.int8)]
    zeros = [_weight("z4", 4, dtype=np.int8), _weight("z", 1, dtype=np.uint8)]
    four = helper.make_tensor("i4", TensorProto.INT4, [3], b"\x21\x03", raw=True)
    scalar = numpy_helper.from_array(np.int8(0), "zs")
    return _model(nodes, "m y y2 p q", [*integers, *scales, *zeros, four, scalar])


def _blocks() -> onnx.ModelProto:
    """Blocks of values with a scale each, and a tensor that is an input, too."""
    nodes = [
        _node("DequantizeLinear w s -> r", axis=0, block_size=2),
        _node("MatMul x r -> m"),
        _node("DequantizeLinear v t zero -> u", axis=0),
        _node("Gemm m u -> y", alpha=0.5),
    ]
    weights = [_weight("w", 4, 4, dtype=np.int8), _weight("s", 2, 4)]
    weights += [_weight("v", 4, 4, dtype=np.uint8), _weight("t", 4)]
    made = _model(nodes, "y w", [*weights, _weight("zero", 4, dtype=np.uint8)])
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.INT8, [4, 4]))
    return made


def _odd() -> onnx.ModelProto:
    """What is rare: sparse tensors, strings, empty and large shapes, training, unknown types."""
    places = numpy_helper.from_array(np.array([1, 3], np.int64), "places")
    sparse = helper.make_sparse_tensor(_weight("thin", 2), places, [16])
    texts = helper.make_tensor("texts", TensorProto.STRING, [2], ["a", "b"])
    complex_ = helper.make_tensor("complex", TensorProto.COMPLEX64, [1], [1 + 2j])
    empty = helper.make_tensor("empty", FLOAT, [0, 4], [])
    large = _weight("large", 20, 20)
    wide = _weight("wide", *[1] * 9, 4)
    nodes = [
        _node("Constant -> sp", sparse_value=sparse),
        _node("Constant -> st", value_strings=["a", "b"]),
        _node("MatMul x large -> m"),
        _node("MatMul m wide -> n"),
        _node("Mystery n thin texts -> y", "other", floats=[1.0, 2.0], t=_weight("a", 3)),
    ]
    made = _model(nodes, "y", [large, wide, texts, complex_, empty])
    made.graph.sparse_initializer.append(sparse)
    made.graph.initializer.add(name="f8", data_type=17, dims=[2], raw_data=b"\1\2")
    made.training_info.add().algorithm.initializer.append(_weight("lr", 2))
    made.graph.quantization_annotation.add(tensor_name="large")
    return made
