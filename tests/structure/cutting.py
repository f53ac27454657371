"""Zero filters by a rule of the tests' own, take them out, and compare what is left."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.removals import RemovedChannels
from onnxprune.structure.groups import find_channels
from onnxprune.structure.removing import find_cut
from onnxprune.structure.writing import write_cut

Array = NDArray[Any]
TOLERANCE = 1e-5
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


def shapes_of(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    """Infer shapes in this process: a child for each of many small nets takes too long."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: [
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
            for dim in value.type.tensor_type.shape.dim
        ]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def dropped(count: int, share: float) -> list[int]:
    """Choose positions: the same for all axes of a length, so that sums lose the same ones."""
    order = np.random.default_rng([7, count]).permutation(count)
    return sorted(order[: int(count * share)].tolist())


def zero_filters(model: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """Zero outputs of layers with what is added to them, by a rule that knows no channels."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    tensors = tensors_of(made)
    for node in made.graph.node:
        for index, axis in _outputs(node, tensors).items():
            name = node.input[index] if index < len(node.input) else ""
            if name in tensors:
                zero(tensors[name], axis, dropped(tensors[name].dims[axis], share))
    return made


def tensors_of(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return initializers and constants by name."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def _outputs(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto]) -> dict[int, int]:
    """Return for the inputs of a node that are rows of outputs the axis that counts them."""
    match node.op_type:
        case "Conv":
            return {1: 0, 2: 0}
        case "ConvTranspose":
            return {1: 1, 2: 0}
        case "BatchNormalization" | "InstanceNormalization":
            return {1: 0, 2: 0}
        case "Gemm":
            turned = any(each.name == "transB" and each.i for each in node.attribute)
            return {1: 0 if turned else 1, 2: 0}
        case "MatMul":
            return {1: 1}
        case "Add":
            index = 1 if node.input[1] in tensors else 0
            tensor = tensors.get(node.input[index])
            long = [] if tensor is None else [at for at, n in enumerate(tensor.dims) if n > 1]
            return {index: long[0]} if len(long) == 1 else {}
    return {}


def zero(tensor: onnx.TensorProto, axis: int, positions: list[int]) -> None:
    """Zero some positions of an axis of a tensor."""
    array = numpy_helper.to_array(tensor).copy()
    np.moveaxis(array, axis, 0)[positions] = 0
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def zero_units(
    model: onnx.ModelProto, share: float, folder: Path, seed: int = 0
) -> dict[str, int]:
    """Zero a share of every group with all that goes along, as a planner would.

    Return how many units of each group, by its first weight.
    """
    path = folder / "planned.onnx"
    path.write_bytes(model.SerializeToString())
    with load_onnx(path) as opened:
        groups = find_channels(opened, shapes_of(model))
    tensors = tensors_of(model)
    rng = np.random.default_rng(seed)
    zeroed = {}
    for group in groups:
        free = [unit for unit, reason in enumerate(group.reasons) if reason is None]
        gone = rng.permutation(free)[: int(len(free) * share)].tolist()
        for member in group.members:
            if member.role != "input" and not member.path.endswith((".var", ".order")):
                rows = np.flatnonzero(np.isin(member.units, gone)).tolist()
                zero(tensors[member.path], member.axis, rows)
        if group.producers and gone:
            zeroed[group.producers[0]] = len(gone)
    return zeroed


@dataclass
class Result:
    """What is left of a model.

    Args:
        model: it.
        groups: what became of its channels.
        bytes: of the file, before and after.
        largest: the largest difference of an output over its largest value.
    """

    model: onnx.ModelProto
    groups: dict[str, RemovedChannels]
    bytes: tuple[int, int]
    largest: float

    def dims(self, name: str) -> list[int]:
        """Return the dimensions of a tensor that is left."""
        return list(tensors_of(self.model)[name].dims)


def take_out(
    model: onnx.ModelProto, sizes: Mapping[str, int] | None = None, needed: bool = True
) -> Result:
    """Take zero channels out of a model, and hold the result against it.

    Args:
        model: the model.
        sizes: of dimensions that it leaves free.
        needed: whether some channel has to go.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "a.onnx"), Path(folder, "b.onnx")
        source.write_bytes(model.SerializeToString())
        with load_onnx(source) as opened:
            groups = write(opened, shapes_of(model), target, needed)
        made = onnx.load(target)
        onnx.checker.check_model(made, full_check=True)
        onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True)
        largest = apart(source, target, sizes or {})
        sized = source.stat().st_size, target.stat().st_size
    return Result(made, groups, sized, largest)


def write(
    opened: OnnxModel, shapes: Any, target: Path, needed: bool = True
) -> dict[str, RemovedChannels]:
    """Write a model without its zero channels; return its groups by their first weight."""
    cut = find_cut(opened, shapes)
    assert cut.surgery.gone or not needed, [group.reason for group in cut.groups]
    with write_cut(cut.surgery, target) as written:
        written.commit()
    return {group.producers[0]: group for group in cut.groups}


def apart(source: Path, target: Path, sizes: Mapping[str, int]) -> float:
    """Run two models on the same values; return how far their outputs are apart."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    first, second = (
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for path in (source, target)
    )
    generator = np.random.default_rng(3)
    feeds = {}
    for port in first.get_inputs():
        shape = [
            size if isinstance(size, int) else sizes.get(size or "", 2) for size in port.shape
        ]
        values = generator.standard_normal(shape) * 2
        feeds[port.name] = values.astype(TYPES[port.type])
    largest = 0.0
    for one, other in zip(first.run(None, feeds), second.run(None, feeds), strict=True):
        assert one.shape == other.shape
        scale = float(np.abs(one).max(initial=0.0)) or 1.0
        largest = max(largest, float(np.abs(one.astype(float) - other).max()) / scale)
    return largest
