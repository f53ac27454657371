"""Make the benchmark's models from a seed, a block at a time, whatever their size."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

BLOCK = 1 << 22
SEED = 20261
IR_VERSION = 10
OPSET = 21


def gaussians(seed: int, index: int, count: int) -> Iterator[NDArray[np.float32]]:
    """Yield `count` normal values of one weight's own scale, at most `BLOCK` at a time."""
    generator = np.random.default_rng([seed, index])
    scale = np.float32(0.02 * generator.uniform(0.5, 1.5))
    for start in range(0, count, BLOCK):
        block = generator.standard_normal(min(BLOCK, count - start), dtype=np.float32)
        block *= scale
        yield block


def weight_name(index: int) -> str:
    """Name the weight of a layer."""
    return f"layer.{index}.weight"


def header(index: int, width: int) -> TensorProto:
    """Describe a square weight, without its data."""
    return TensorProto(
        dims=[width, width], data_type=TensorProto.FLOAT, name=weight_name(index)
    )


def nodes(layers: int) -> list[onnx.NodeProto]:
    """Chain `layers` times MatMul and Relu from `x` to `y`."""
    chain: list[onnx.NodeProto] = []
    value = "x"
    for index in range(layers):
        product, after = f"product.{index}", "y" if index == layers - 1 else f"relu.{index}"
        chain.append(helper.make_node("MatMul", [value, weight_name(index)], [product]))
        chain.append(helper.make_node("Relu", [product], [after]))
        value = after
    return chain


def ports(width: int) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    """Declare the input and the output."""
    shape: list[str | int | None] = ["batch", width]
    return (
        helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, shape),
    )


def prefixed(number: int, length: int) -> bytes:
    """Encode the tag and the length that stand before a length-delimited protobuf field."""
    encoded = bytearray([number << 3 | 2])
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*encoded, length])


def inline(path: Path, width: int, layers: int, seed: int = SEED) -> Path:
    """Write an MLP of square fp32 weights with its data inline, in the order onnx writes."""
    if path.exists():
        return path
    size = width * width * 4
    first = onnx.GraphProto(node=nodes(layers), name="mlp").SerializeToString()
    x, y = ports(width)
    last = onnx.GraphProto(input=[x], output=[y]).SerializeToString()
    heads = [header(i, width).SerializeToString() + prefixed(9, size) for i in range(layers)]
    heads = [prefixed(5, len(head) + size) + head for head in heads]
    graph = len(first) + sum(len(head) + size for head in heads) + len(last)
    opset = onnx.ModelProto(opset_import=[helper.make_opsetid("", OPSET)])
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(onnx.ModelProto(ir_version=IR_VERSION).SerializeToString())
        file.write(prefixed(7, graph) + first)
        for index, head in enumerate(heads):
            file.write(head)
            for block in gaussians(seed, index, width * width):
                file.write(block.data)
        file.write(last + opset.SerializeToString())
    return part.replace(path)


def mlp_26m(path: Path) -> Path:
    """Write the MLP of 25 weights of 1024 x 1024: 26.2 M parameters, 105 MB."""
    return inline(path, 1024, 25)


def external(path: Path, gib: float, layers: int, seed: int = SEED) -> Path:
    """Write an MLP whose weights are in one external file of `gib` GiB next to the model."""
    if path.exists():
        return path
    count = round(gib * (1 << 30)) // 4 // layers
    width = math.isqrt(count)
    if width * width * layers * 4 != round(gib * (1 << 30)):
        raise ValueError(f"{gib} GiB is not {layers} square fp32 weights")
    location = path.with_suffix(".data")
    part = path.with_suffix(".data.part")
    with part.open("wb") as file:
        for index in range(layers):
            for block in gaussians(seed, index, count):
                file.write(block.data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(location)
    x, y = ports(width)
    graph = helper.make_graph(nodes(layers), "external", [x], [y])
    for index in range(layers):
        tensor = header(index, width)
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": location.name, "offset": index * count * 4, "length": count * 4}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        graph.initializer.append(tensor)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    path.write_bytes(model.SerializeToString())
    return path


class Residual:
    """The nodes and weights of a ResNet-18 without normalisation, as they are added."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        """Add a weight whose outputs have about the variance of its inputs."""
        scale = np.float32(math.sqrt(2 / math.prod(shape[1:])))
        values = self.generator.standard_normal(shape, dtype=np.float32) * scale
        self.weights.append(onnx.numpy_helper.from_array(values, name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Add a node; its output has its name."""
        made = helper.make_node(kind, inputs, [name], name=name, **attributes)
        self.nodes.append(made)
        return name

    def convolution(
        self, value: str, name: str, channels: tuple[int, int], size: int, stride: int
    ) -> str:
        """Add a convolution that keeps the picture's size, or divides it by the stride."""
        taken, given = channels
        weight = self.weight(f"{name}.weight", given, taken, size, size)
        bias = onnx.numpy_helper.from_array(np.zeros(given, np.float32), f"{name}.bias")
        self.weights.append(bias)
        settings = {"strides": [stride] * 2, "pads": [size // 2] * 4}
        return self.node("Conv", [value, weight, bias.name], name, **settings)

    def block(self, value: str, name: str, channels: tuple[int, int], stride: int) -> str:
        """Add two convolutions and the way around them."""
        taken, given = channels
        inner = self.convolution(value, f"{name}.conv1", channels, 3, stride)
        inner = self.node("Relu", [inner], f"{name}.relu1")
        inner = self.convolution(inner, f"{name}.conv2", (given, given), 3, 1)
        if taken != given:
            value = self.convolution(value, f"{name}.around", channels, 1, stride)
        total = self.node("Add", [inner, value], f"{name}.add")
        return self.node("Relu", [total], f"{name}.relu2")


def resnet18(path: Path, seed: int = SEED) -> Path:
    """Write a ResNet-18 of random weights, 46.7 MB, for pictures of 224 x 224."""
    if path.exists():
        return path
    net = Residual(seed)
    value = net.convolution("image", "conv1", (3, 64), 7, 2)
    value = net.node("Relu", [value], "relu1")
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    value = net.node("MaxPool", [value], "pool", **window)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for part in range(2):
            stride = 2 if width != before else 1
            value = net.block(value, f"stage{stage}.{part}", (before, width), stride)
            before = width
    value = net.node("GlobalAveragePool", [value], "mean")
    value = net.node("Flatten", [value], "flat")
    inputs = [value, net.weight("fc.weight", 1000, 512)]
    net.node("Gemm", inputs, "scores", transB=1)
    shape: list[str | int | None] = ["batch", 3, 224, 224]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1000])
    graph = helper.make_graph(net.nodes, "resnet18", [image], [scores], net.weights)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    path.write_bytes(model.SerializeToString())
    return path


def pictures(path: Path, count: int, seed: int = SEED) -> Path:
    """Write random pictures and labels for `resnet18`."""
    generator = np.random.default_rng([seed, 1])
    image = generator.standard_normal((count, 3, 224, 224), dtype=np.float32)
    np.savez(path, image=image, labels=generator.integers(0, 1000, count))
    return path


def threshold(data: Path, sparsity: float) -> float:
    """Estimate from a sample the magnitude below which `sparsity` of a data file lies."""
    values = np.memmap(data, dtype=np.float32, mode="r")
    return float(np.quantile(np.abs(values[:: max(1, values.size // 1_000_003)]), sparsity))


def zeros_in_data(data: Path) -> float:
    """Count the zeros of an external fp32 file, as a fraction."""
    zeros = total = 0
    with data.open("rb") as file:
        while chunk := file.read(BLOCK * 4):
            values = np.frombuffer(chunk, dtype=np.float32)
            zeros += values.size - int(np.count_nonzero(values))
            total += values.size
    return zeros / total


def zeros_in_model(path: Path) -> float:
    """Count the zeros of the weights that the nodes of a model use, as a fraction."""
    model = onnx.load(path)
    used = {name for node in model.graph.node for name in node.input}
    zeros = total = 0
    for tensor in model.graph.initializer:
        if tensor.name in used and len(tensor.dims) == 2:
            values = onnx.numpy_helper.to_array(tensor)
            zeros += values.size - int(np.count_nonzero(values))
            total += values.size
    return zeros / total
