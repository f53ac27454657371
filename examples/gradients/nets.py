"""Makes, trains and exports the nets that `claims.py` prunes, and reads pruned ones back."""

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
LAYERS, WIDTH = 9, 32


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Images and what they show."""

    image: torch.Tensor
    labels: torch.Tensor


def read_digits() -> Digits:
    """Return all images that the repository ships; the calibration set comes first."""
    files = [
        np.load(ROOT / "calibration" / f"digits_{n}.npz") for n in ("calibration", "test")
    ]
    image, labels = (np.concatenate([f[name] for f in files]) for name in ("image", "labels"))
    return Digits(torch.from_numpy(image), torch.from_numpy(labels))


def build_deep(normalised: bool) -> nn.Sequential:
    """Return an untrained net of eight convolutions and a linear layer."""
    layers: list[nn.Module] = []
    channels = 1
    for position in range(LAYERS - 1):
        layers.append(nn.Conv2d(channels, WIDTH, 3, padding=1))
        layers += [nn.BatchNorm2d(WIDTH)] if normalised else []
        layers += [nn.ReLU()] + ([nn.MaxPool2d(2)] if position in (2, 5) else [])
        channels = WIDTH
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * WIDTH, 10))
    # torch's own start lets the signal fade in so many layers, whatever is pruned.
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.constant_(layer.get_parameter("bias"), 0)
    return network


def build_small() -> nn.Sequential:
    """Return the net that is trained before it is pruned."""
    first = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()
    second = nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    return nn.Sequential(*first, *second, nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10))


def train(network: nn.Module, digits: Digits, passes: int) -> None:
    """Train by SGD; weights that are 0 at the start stay so."""
    network.train()
    masks = [(each, each.detach() != 0) for each in network.parameters() if each.dim() > 1]
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(passes):
        for rows in torch.split(torch.randperm(len(digits.labels)), 50):
            loss = nn.functional.cross_entropy(
                network(digits.image[rows]), digits.labels[rows]
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                for weight, kept in masks:
                    weight.mul_(kept)


def measure_loss(network: nn.Module, digits: Digits) -> float:
    """Return the training loss, normalised by the whole set's statistics, as it is printed."""
    with torch.no_grad():
        logits = network.train()(digits.image)
        return round(float(nn.functional.cross_entropy(logits, digits.labels)), 4)


def export(network: nn.Module, path: Path) -> None:
    """Write a net as an ONNX file that keeps its names, and its normalisation as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter recommends its successor
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 1, 8, 8),),
            str(path),
            dynamo=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Return a copy of a net with the weights of a file; biases are never pruned."""
    stored = {
        each.name: onnx.numpy_helper.to_array(each)
        for each in onnx.load(path).graph.initializer
    }
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in copied.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.from_numpy(stored[name].copy()))
    return copied
