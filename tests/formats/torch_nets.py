"""Small torch models, and how they are saved."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onnxprune.types import Array


class ConvNet(nn.Module):
    """Convolution, normalisation and a linear layer; the batch is free."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(image))).mean((2, 3)))


class Branches(nn.Module):
    """One linear layer or another, by what the values are."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 4)
        self.second = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            return self.first(x)
        return self.second(x) - 1


class Recurrent(nn.Module):
    """A recurrent layer and a linear one."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.cells = kind(6, 5, batch_first=True, **options)
        self.head = nn.Linear(10 if options.get("bidirectional") else 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.cells(x)
        return self.head(y)


class Tied(nn.Module):
    """A table that is also the last layer's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.middle = nn.Linear(8, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.table.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.head(torch.relu(self.middle(self.table(words))))


class Remembers(nn.Module):
    """A state that forward changes."""

    state: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.register_buffer("state", torch.zeros(1, 6))

    def forward(self, x: Tensor) -> Tensor:
        self.state = torch.tanh(self.linear(x) + self.state)
        return self.state * 2


class Overwrites(nn.Module):
    """A state of one sample that forward writes into."""

    state: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.register_buffer("state", torch.zeros(1, 6))

    def forward(self, x: Tensor) -> Tensor:
        new = torch.tanh(self.linear(x) + self.state)
        self.state.copy_(new)
        return new * 2


class Two(nn.Module):
    """Two inputs, three outputs; one of them is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 4)
        self.right = nn.Linear(6, 4)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.left(a), self.left(a) + self.right(b), a


class Scaled(nn.Module):
    """A Python number among the arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor, times: int) -> Tensor:
        return self.linear(x) * times


class Eigenvalues(nn.Module):
    """An operator that ONNX lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(self.linear(x)).abs()


def pruned(module: nn.Module) -> nn.Module:
    """Set every second element of each matrix to zero, for use."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.view(-1)[::2] = 0
    return module.eval()


def weights(module: nn.Module) -> dict[str, Array]:
    """Return the matrices of a module by path, under all their paths."""
    named = module.named_parameters(remove_duplicate=False)
    return {path: value.detach().numpy() for path, value in named if value.ndim > 1}


def traced(path: Path, module: nn.Module, *arguments: Tensor) -> Path:
    """Save what a module does with arguments."""
    with warnings.catch_warnings(action="ignore"):
        made: Any = torch.jit.trace(module, arguments, check_trace=False)
        torch.jit.save(made, path)
    return path


def scripted(path: Path, module: nn.Module, frozen: bool = False) -> Path:
    """Save a module's code."""
    with warnings.catch_warnings(action="ignore"):
        made: Any = torch.jit.script(module)
        torch.jit.save(torch.jit.freeze(made) if frozen else made, path)
    return path


def program(path: Path, module: nn.Module, *arguments: Any, **options: Any) -> Path:
    """Save an exported program."""
    with warnings.catch_warnings(action="ignore"):
        torch.export.save(torch.export.export(module, arguments, **options), path)
    return path


def numbers(*shape: int, seed: int = 0) -> Array:
    """Return floats that are always the same."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def outputs(module: nn.Module, *arguments: Array) -> list[Array]:
    """Run a module."""
    with torch.no_grad():
        found = module(*(torch.tensor(each) for each in arguments))
    return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]


def zeros(tensors: Mapping[str, Array]) -> int:
    """Count zeros."""
    return sum(int((values == 0).sum()) for values in tensors.values())
