"""Small torch models of the usual kinds, as TorchScript files and exported programs."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """A convolution with normalisation, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, 3, groups=8)
        self.head = nn.Linear(8, 5)
        self.register_buffer("basis", torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.conv(x)))
        y = torch.relu(self.depth(y)).mean((2, 3))
        return self.head(y @ self.basis)


class Choosing(nn.Module):
    """Two ways, one of which is taken for large inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 4)
        self.two = nn.Linear(6, 4)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x) if float(x.sum()) > 0 else self.two(x)
        return y * self.scale


class Remembering(nn.Module):
    """A recurrent layer whose state is kept from one call to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(6, 7)
        self.head = nn.Linear(7, 3)
        self.register_buffer("hidden", torch.zeros(1, 1, 7))
        self.register_buffer("cell", torch.zeros(1, 1, 7))
        self.steps: int = 0

    def forward(self, x: Tensor) -> Tensor:
        y, (hidden, cell) = self.memory(x.unsqueeze(0), (self.hidden, self.cell))
        self.hidden[:] = hidden
        self.cell[:] = cell
        self.steps += 1
        return self.head(y.squeeze(0))

    @torch.jit.export
    def reset(self) -> None:
        self.hidden[:] = 0.0
        self.cell[:] = 0.0
        self.steps = 0


class Tied(nn.Module):
    """A table that is read from and, transposed, multiplied with."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.layer = nn.Linear(6, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(self.table(tokens))))


class Products(nn.Module):
    """Weights that are used in many ways: products, parts of a matrix, an einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.randn(5, 6))
        self.right = nn.Parameter(torch.randn(5, 8))
        self.three = nn.Parameter(torch.randn(12, 8))
        self.summed = nn.Parameter(torch.randn(2, 4, 3))
        self.up = nn.ConvTranspose1d(4, 6, 3, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.matmul(self.left, x.t()).t()
        y = torch.mm(y, self.right)
        a, b, c = self.three.chunk(3)
        y = nn.functional.linear(y, a) + nn.functional.linear(y, b).tanh() * c.sum()
        z = self.up(y.unsqueeze(2)).sum(2)
        return torch.einsum("ni,kij->nkj", y, self.summed).flatten(1) + z


IMAGE: Callable[[], Tensor] = lambda: torch.randn(2, 3, 6, 6)  # noqa: E731 - a table's entry
ROWS: Callable[[], Tensor] = lambda: torch.randn(4, 6)  # noqa: E731 - a table's entry
NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "small": (Small, IMAGE),
    "choosing": (Choosing, ROWS),
    "remembering": (Remembering, lambda: torch.randn(1, 6)),
    "tied": (Tied, lambda: torch.randint(0, 11, (4,))),
    "products": (Products, ROWS),
    "gru": (lambda: nn.Sequential(nn.GRU(6, 5, num_layers=2), First()), ROWS),
}


class First(nn.Module):
    """Takes the first of what it is given."""

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0]


def made(name: str) -> tuple[nn.Module, Tensor]:
    """Return a model, always with the same weights, and an input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        build, sample = NETS[name]
        net, given = build(), sample()
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None and layer.running_var is not None
                nn.init.uniform_(layer.running_mean, -0.5, 0.5)
                nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return net.eval(), given


def saved(folder: Path, name: str, way: str = "script") -> Path:
    """Save a model as `script`, `trace`, `frozen` or `program`, and return the file."""
    net, given = made(name)
    path = folder / f"{name}.{'pt2' if way == 'program' else 'pt'}"
    with quiet():
        if way == "program":
            torch.export.save(torch.export.export(net, (given,)), path)
            return path
        module: Any = torch.jit.trace(net, given) if way == "trace" else torch.jit.script(net)
        if way == "frozen":
            module = torch.jit.freeze(module.eval())
        torch.jit.save(module, path)
    return path


def loaded(path: Path) -> Any:
    """Load a file as a user would."""
    with quiet():
        if path.suffix == ".pt2":
            return torch.export.load(path).module()
        return torch.jit.load(path)


class quiet(warnings.catch_warnings):  # noqa: N801 - used as a function is
    """Let no warning of deprecation become an error."""

    def __enter__(self) -> Any:
        result = super().__enter__()
        warnings.simplefilter("ignore")
        return result
