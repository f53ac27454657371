"""Build small ONNX models in a few lines, and look at what onnxprune finds in them."""

import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxprune.formats.macs import Shapes, count_macs
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.types import Weight

Array = NDArray[Any]
IR_VERSION = 10
OPSETS = {"": 21, "com.microsoft": 1, "local": 1}
FLOAT_NAMES = {
    number: name
    for name, number in TensorProto.DataType.items()
    if "FLOAT" in name or name == "DOUBLE"
}


def weight(name: str, *shape: int, dtype: Any = np.float32) -> TensorProto:
    """Make a tensor of normal values, or of all integers of a type, drawn from its name."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = generator.integers(limits.min, limits.max, shape, kind, endpoint=True)
    else:
        values = generator.standard_normal(shape)
    return numpy_helper.from_array(np.asarray(values).astype(kind), name)


def constant(name: str, values: Any, dtype: Any = np.float32) -> TensorProto:
    """Make a tensor of given values."""
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def node(text: str, name: str = "", domain: str = "", **attributes: Any) -> onnx.NodeProto:
    """Make a node from `Op input ... -> output ...`, where `_` stands for no input."""
    head, _, outputs = text.partition("->")
    op, *inputs = ("" if word == "_" else word for word in head.split())
    return helper.make_node(op, inputs, outputs.split(), name, domain=domain, **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]] | None = None,
    outputs: str = "y",
    initializers: Sequence[TensorProto] = (),
) -> onnx.GraphProto:
    """Make a graph of float inputs; its outputs are named in one string."""
    ports = [port(name, shape) for name, shape in (inputs or {}).items()]
    results = [port(name, None) for name in outputs.split()]
    return helper.make_graph(nodes, "g", ports, results, initializers)


def port(
    name: str, shape: Sequence[int | str] | None, kind: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    """Declare a value."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]] | None = None,
    outputs: str = "y",
    initializers: Sequence[TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """Make a model of one graph."""
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    return helper.make_model(
        graph(nodes, inputs, outputs, initializers),
        functions=functions,
        opset_imports=opsets,
        ir_version=IR_VERSION,
    )


def function(
    name: str, text: str, nodes: Sequence[onnx.NodeProto], **attributes: Any
) -> onnx.FunctionProto:
    """Make a function of the domain `local` from `input ... -> output ...`.

    Args:
        name: what its callers write as operator.
        text: its inputs and outputs.
        nodes: its body.
        attributes: what its callers may set, with defaults; None where there is no default.
    """
    inputs, _, outputs = text.partition("->")
    return helper.make_function(
        "local",
        name,
        inputs.split(),
        outputs.split(),
        nodes,
        [helper.make_opsetid("", OPSETS[""])],
        [key for key, default in attributes.items() if default is None],
        [
            helper.make_attribute(key, default)
            for key, default in attributes.items()
            if default is not None
        ],
    )


def save(path: Path, proto: onnx.ModelProto) -> Path:
    """Write a model, its data inline."""
    path.write_bytes(proto.SerializeToString())
    return path


def run(proto: onnx.ModelProto, **inputs: Array) -> list[Array]:
    """Run a model on ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, inputs))


@dataclass
class Found:
    """What onnxprune finds in a model.

    Args:
        weights: by path, in graph order.
        skipped: the reason, by name.
        warnings: as the file's report has them.
        matrices: the real values of each weight as [outputs, kernel and inputs].
        values: the real values of each weight in stored order.
    """

    weights: dict[str, Weight]
    skipped: dict[str, str]
    warnings: list[str]
    matrices: dict[str, Array] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)


def look(proto: onnx.ModelProto, shapes: Shapes | None = None) -> Found:
    """Load a model, check that no float tensor of it vanished, and return what was found."""
    with tempfile.TemporaryDirectory() as folder:
        found = look_at(save(Path(folder, "model.onnx"), proto), shapes)
    check_complete(float_tensors(proto), found)
    return found


def look_at(path: Path, shapes: Shapes | None = None) -> Found:
    """Return what is found in a model file."""
    with load_onnx(path) as opened:
        count_macs(opened, shapes or {})
        found = Found(
            {found.path: found for found in opened.weights},
            {skipped.name: skipped.reason for skipped in opened.skipped},
            opened.warnings,
        )
        assert len(found.weights) == len(opened.weights)
        assert len(found.skipped) == len(opened.skipped)
        for path_, of in found.weights.items():
            halves = [(0, of.size // 2), (of.size // 2, of.size)]
            found.values[path_] = opened.values(path_, 0, of.size)
            pieces = np.concatenate([opened.values(path_, *half) for half in halves])
            assert np.array_equal(pieces, found.values[path_])
            found.matrices[path_] = of.layout.matrix(found.values[path_])
    return found


def check_complete(tensors: list[str], found: Found) -> None:
    """Hold the law: a float tensor is a weight or is skipped with a reason, never both."""
    assert not found.weights.keys() & found.skipped.keys()
    assert all(found.skipped.values())
    missing = set(tensors) - found.weights.keys() - found.skipped.keys()
    assert not missing, f"neither a weight nor skipped: {sorted(missing)}"


def float_tensors(proto: onnx.ModelProto) -> list[str]:
    """List the paths of all float tensors of two or more elements, by the onnx package."""
    paths = list(_of_graph(proto.graph, ""))
    for body in proto.functions:
        paths += _of_nodes(body.node, f"function:{body.name}/")
    return paths


def _of_graph(body: onnx.GraphProto, prefix: str) -> Iterator[str]:
    for tensor in body.initializer:
        if _counts(tensor):
            yield prefix + tensor.name
    for sparse in body.sparse_initializer:
        if sparse.values.data_type in FLOAT_NAMES:
            yield prefix + sparse.values.name
    yield from _of_nodes(body.node, prefix)


def _of_nodes(nodes: Sequence[onnx.NodeProto], prefix: str) -> Iterator[str]:
    for made in nodes:
        label = made.name or next(filter(None, made.output), made.op_type)
        for attribute in made.attribute:
            is_constant = made.op_type == "Constant"
            path = prefix + (made.output[0] if is_constant else f"{label}.{attribute.name}")
            if _counts(attribute.t) or len(attribute.floats) > 1:
                yield path
            if attribute.sparse_tensor.values.data_type in FLOAT_NAMES:
                yield path
            if attribute.HasField("g"):
                yield from _of_graph(attribute.g, f"{prefix}{label}.{attribute.name}/")
            for number, body in enumerate(attribute.graphs):
                yield from _of_graph(body, f"{prefix}{label}.{attribute.name}{number}/")


def _counts(tensor: TensorProto) -> bool:
    return tensor.data_type in FLOAT_NAMES and int(np.prod(tensor.dims)) > 1
