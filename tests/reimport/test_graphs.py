"""Whole exported graphs: outputs against ONNX Runtime, gradients against the torch model."""

from collections import defaultdict
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from tests.reimport.imported import agrees, export, imported
from tests.reimport.nets import NETS, made

PRESERVE = torch.onnx.TrainingMode.PRESERVE  # which keeps normalisation apart
EXPORTERS: dict[str, dict[str, Any]] = {
    "traced-17": {"dynamo": False, "opset_version": 17, "training": PRESERVE},
    "traced-20": {"dynamo": False, "opset_version": 20},
    "exported-18": {"dynamo": True, "opset_version": 18},
    "exported-20": {"dynamo": True, "opset_version": 20, "optimize": False},
}
GRAPHS = [
    pytest.param((name, exporter), id=f"{name}-{exporter}")
    for index, name in enumerate(NETS)
    for exporter in (list(EXPORTERS)[index % 2], list(EXPORTERS)[2 + index % 2])
]


@pytest.fixture(scope="module", params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The name of a net, and that of an exporter; tests of one graph come together."""
    found: tuple[str, str] = request.param
    return found


@cache
def exported(name: str, exporter: str) -> onnx.ModelProto:
    net, given = made(name)
    return export(net, (given,), input_names=["x"], output_names=["y"], **EXPORTERS[exporter])


def test_outputs_are_those_of_onnx_runtime(graph: tuple[str, str]) -> None:
    name, exporter = graph
    _, given = made(name)
    module = agrees(exported(name, exporter), {"x": given.numpy()}, 1e-5)
    assert not module.cuts


def test_gradients_are_those_of_the_torch_model(graph: tuple[str, str]) -> None:
    name, exporter = graph
    net, given = made(name)
    weights = torch.linspace(-1, 1, net(given).numel()).reshape(net(given).shape)
    (net(given) * weights).sum().backward()
    module = imported(exported(name, exporter))
    (module(x=given)["y"] * weights).sum().backward()
    compared = 0
    for parameter in net.parameters():
        found = matching(parameter, module.tensors)
        assert parameter.grad is not None
        if found is not None:
            largest = parameter.grad.abs().max()
            assert (found - parameter.grad).abs().max() <= 1e-4 * max(largest, 1e-3)
            compared += 1
    assert compared == len(list(net.parameters())) - folded(net, exported(name, exporter))


def test_every_weight_gets_a_gradient_that_differences_confirm(
    graph: tuple[str, str],
) -> None:
    name, exporter = graph
    _, given = made(name)
    module = imported(exported(name, exporter), precision=torch.float64)
    assert module.unscored(module.tensors, {"x": given}) == []
    directions = {
        path: torch.from_numpy(np.random.default_rng(1).standard_normal(tensor.shape))
        for path, tensor in module.tensors.items()
    }

    def moved(step: float) -> Tensor:
        tensors = {
            path: tensor + step * directions[path] for path, tensor in module.tensors.items()
        }
        return torch.tanh(module.compute({"x": given}, tensors)["y"]).sum()

    total = torch.tanh(module(x=given)["y"]).sum()
    found = torch.autograd.grad(total, list(module.tensors.values()))
    slope = sum(
        float((gradient * direction).sum())
        for gradient, direction in zip(found, directions.values(), strict=True)
    )
    # Steps so small that no ReLU changes sides.
    with torch.no_grad():
        difference = float(moved(1e-7) - moved(-1e-7)) / 2e-7
    assert slope == pytest.approx(difference, rel=1e-4, abs=1e-5)


def test_a_specialised_module_gives_the_same(graph: tuple[str, str]) -> None:
    name, exporter = graph
    _, given = made(name)
    module = imported(exported(name, exporter))
    before = module(x=given)["y"]
    module.specialise({"x": given})
    assert torch.equal(module(x=given)["y"], before)


def folded(net: nn.Module, proto: onnx.ModelProto) -> int:
    """Count the tensors that a normalisation in the weights before it leaves no trace of."""
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    kept = any(node.op_type == "BatchNormalization" for node in proto.graph.node)
    return 0 if kept else 4 * len(norms)


def matching(parameter: Tensor, tensors: dict[str, Any]) -> Tensor | None:
    """Find the gradient of a parameter in the file's tensors, by its values.

    Exporters transpose matrices, repeat rows, keep copies, and order the gates of recurrent
    layers in another way.
    """
    found = []
    for tensor in tensors.values():
        pairs = [(tensor.detach(), tensor.grad)]
        if tensor.dim() == 2:
            pairs.append((tensor.detach().T, tensor.grad.T))
        for values, gradient in pairs:
            places = _places(parameter.detach(), values)
            if places is not None:
                flat = gradient.reshape(-1, *parameter.shape[1:])
                found.append(torch.stack([flat[rows].sum(0) for rows in places]))
                break
    return torch.stack(found).sum(0) if found else None


def _places(wanted: Tensor, values: Tensor) -> list[list[int]] | None:
    """Return where each row of a tensor is in another one, if all of them are there."""
    size = wanted.shape[1:].numel()
    if values.numel() % size:
        return None
    places: dict[bytes, list[int]] = defaultdict(list)
    for index, row in enumerate(values.reshape(-1, size)):
        places[row.numpy().tobytes()].append(index)
    found = [places.get(row.numpy().tobytes(), []) for row in wanted]
    return found if all(found) else None
