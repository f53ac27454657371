"""Small smooth nets, each twice: as an ONNX file, and written down in torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

from tests.models import constant, model, node, save

Array = NDArray[Any]
Bend = Callable[[Tensor], Tensor]
Forward = Callable[[dict[str, Tensor], Tensor, Bend], Tensor]


@dataclass(frozen=True, eq=False)
class Net:
    """A model and its samples.

    Args:
        proto: the model as ONNX.
        weights: what can be pruned, in the order of the graph.
        biases: what cannot.
        forward: the same in torch: of all tensors, the input, and what stands for tanh.
        x: the samples.
        labels: a class for each.
    """

    proto: onnx.ModelProto
    weights: dict[str, Array]
    biases: dict[str, Array]
    forward: Forward
    x: Array
    labels: Array

    @property
    def size(self) -> int:
        return sum(each.size for each in self.weights.values())

    def save(self, folder: Path) -> Path:
        return save(folder / "net.onnx", self.proto)

    def arrays(self) -> dict[str, Array]:
        return {"x": self.x, "labels": self.labels}


def masks_of(file: Path, paths: Sequence[str]) -> dict[str, Array]:
    """Read which weights of a file are not zero."""
    stored = {each.name: each for each in onnx.load(file).graph.initializer}
    return {path: numpy_helper.to_array(stored[path]) != 0 for path in paths}


def layered() -> Net:
    """Three layers, with tanh and with softplus between; their matrices lie both ways round."""

    def forward(w: dict[str, Tensor], x: Tensor, bend: Bend) -> Tensor:
        hidden = bend(x @ w["first"] + w["first_bias"])
        hidden = functional.softplus(hidden @ w["second"] + w["second_bias"])
        return hidden @ w["third"].T + w["third_bias"]

    weights = drawn(11, first=(6, 8), second=(8, 7), third=(4, 7))
    biases = drawn(12, first_bias=(8,), second_bias=(7,), third_bias=(4,))
    nodes = [
        node("MatMul x first -> a"),
        node("Add a first_bias -> b"),
        node("Tanh b -> c"),
        node("MatMul c second -> d"),
        node("Add d second_bias -> e"),
        node("Softplus e -> f"),
        node("Gemm f third third_bias -> y", transB=1),
    ]
    proto = model(nodes, {"x": ("n", 6)}, "y", stored(weights | biases))
    return Net(proto, weights, biases, forward, *samples(13, (6,), 4))


def convolving() -> Net:
    """Two convolutions, with GELU and tanh behind, and means over places."""

    def forward(w: dict[str, Tensor], x: Tensor, bend: Bend) -> Tensor:
        maps = functional.gelu(functional.conv2d(x, w["first"], w["first_bias"]))
        maps = functional.avg_pool2d(maps, 2)
        maps = bend(functional.conv2d(maps, w["second"], w["second_bias"], padding=1))
        return maps.mean((2, 3)) @ w["third"].T + w["third_bias"]

    weights = drawn(21, first=(4, 1, 3, 3), second=(5, 4, 3, 3), third=(3, 5))
    biases = drawn(22, first_bias=(4,), second_bias=(5,), third_bias=(3,))
    nodes = [
        node("Conv x first first_bias -> a", kernel_shape=[3, 3]),
        node("Gelu a -> b"),
        node("AveragePool b -> c", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv c second second_bias -> d", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Tanh d -> e"),
        node("GlobalAveragePool e -> f"),
        node("Flatten f -> g"),
        node("Gemm g third third_bias -> y", transB=1),
    ]
    proto = model(nodes, {"x": ("n", 1, 8, 8)}, "y", stored(weights | biases))
    return Net(proto, weights, biases, forward, *samples(23, (1, 8, 8), 3))


def drawn(seed: int, **shapes: tuple[int, ...]) -> dict[str, Array]:
    """Draw tensors whose products keep about their size."""
    generator = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes.items():
        inputs = max(1, int(np.prod(shape[1:]))) if len(shape) > 1 else 4
        found[name] = (generator.standard_normal(shape) / inputs**0.5).astype(np.float32)
    return found


def stored(tensors: dict[str, Array]) -> list[onnx.TensorProto]:
    return [constant(name, values) for name, values in tensors.items()]


def samples(seed: int, shape: tuple[int, ...], classes: int) -> tuple[Array, Array]:
    """Draw 23 samples, which no batch divides, and their classes."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((23, *shape)).astype(np.float32)
    return x, generator.integers(0, classes, 23)


def tensors_of(net: Net, masks: dict[str, Array] | None = None) -> dict[str, Tensor]:
    """Return all tensors in double precision, with zeros where a mask says so."""
    doubles = {name: each.astype(np.float64) for name, each in net.weights.items()}
    if masks is not None:
        doubles = {name: each * masks[name] for name, each in doubles.items()}
    doubles |= {name: each.astype(np.float64) for name, each in net.biases.items()}
    return {name: torch.from_numpy(each) for name, each in doubles.items()}
