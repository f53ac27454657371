"""Small models that can be measured, and sets of samples for them; no code is shared with ours."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onnxprune.outcomes import Port
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.statistics.collecting import Collector
from onnxprune.statistics.estimation import Estimation
from onnxprune.statistics.targets import Target
from onnxprune.types import Layout

Array = NDArray[Any]
Forward = Callable[[dict[str, Any], dict[str, Tensor]], dict[str, Any]]


class Net:
    """A model made of a function of its feeds and its tensors."""

    def __init__(self, forward: Forward, tensors: Mapping[str, Array]) -> None:
        self.forward = forward
        self.tensors = {
            path: nn.Parameter(torch.from_numpy(np.array(array)))
            for path, array in tensors.items()
        }
        self.batch_statistics = False

    def compute(
        self, feeds: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> dict[str, Any]:
        return self.forward(dict(feeds), {**self.tensors, **(tensors or {})})


def drawn(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def smooth() -> Net:
    """Two layers with tanh between: 3 inputs, 4 hidden values, 3 classes."""

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        hidden = torch.tanh(feeds["x"] @ w["first"] + w["bias"])
        return {"y": hidden @ w["second"].T}

    tensors = {"first": drawn(1, 3, 4), "bias": drawn(2, 4), "second": drawn(3, 3, 4)}
    return Net(forward, tensors)


def convolving() -> Net:
    """A convolution whose weights are used at many places, and a mean over these."""

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        maps = torch.tanh(nn.functional.conv2d(feeds["x"], w["kernel"]))
        return {"y": maps.mean((2, 3)) @ w["head"]}

    return Net(forward, {"kernel": drawn(4, 2, 1, 3, 3), "head": drawn(5, 2, 3)})


def samples_of(x: Array, labels: Array | None = None, fixed: int | None = None) -> Samples:
    arrays = {"x": x} if labels is None else {"x": x, "labels": labels}
    port = Port("x", str(x.dtype), (fixed, *x.shape[1:]))
    return open_samples(arrays, Reading(), (port,))


def collector(
    net: Net,
    samples: Samples | None,
    target: Target | None = None,
    ports: tuple[Port, ...] = (),
    **choices: Any,
) -> Collector:
    """Measure all tensors of a net, in double precision unless another one is asked for."""
    estimation = Estimation(**{"precision": "float64", **choices})
    layouts = {path: layout_of(path, each) for path, each in net.tensors.items()}
    return Collector(net, samples, list(net.tensors), estimation, target, ports, layouts)


def layout_of(path: str, tensor: Tensor) -> Layout:
    """Return how a tensor is a matrix: `first` and `head` have their inputs first."""
    shape, axes = tuple(tensor.shape), tuple(range(tensor.dim()))
    if path in ("first", "head"):
        return Layout(shape, axes[1:], (), axes[:1])
    return Layout(shape, axes[:1], axes[2:], axes[1:2])


def measured(
    net: Net, samples: Samples | None, name: str, step: int = 1, **choices: Any
) -> dict[str, Array]:
    return collector(net, samples, **choices).collect([name], None, step)[name]
