"""Torch models of the usual kinds, large enough that their arithmetic takes most of the time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def _normalised(inputs: int, outputs: int, size: int = 3, **settings: Any) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False, **settings)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _normalised(inputs, outputs, stride=stride)
        self.second = _normalised(outputs, outputs)
        self.around = _normalised(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.around(x))


class Squeezed(nn.Module):
    """A depthwise block whose channels are weighted by what is in them."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.enter = _normalised(width, wide, 1)
        self.depth = _normalised(wide, wide, 5, groups=wide)
        self.down = nn.Conv2d(wide, wide // 4, 1)
        self.up = nn.Conv2d(wide // 4, wide, 1)
        self.leave = _normalised(wide, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.hardswish(self.depth(functional.hardswish(self.enter(x))))
        inside = torch.relu(self.down(y.mean((2, 3), keepdim=True)))
        return x + self.leave(y * functional.hardsigmoid(self.up(inside)))


class Head(nn.Module):
    """Classes of what is left when positions are averaged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.classes = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(x.mean((2, 3)))


class Mirrored(nn.Module):
    """Down and up again, with ways across."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU())
        self.three = nn.Sequential(nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.leave = nn.Conv2d(2 * width, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.three(self.two(functional.max_pool2d(one, 2)))
        return self.leave(torch.cat([one, self.up(two)], 1))


class Patches(nn.Module):
    """A transformer over the patches of an image."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.place = nn.Parameter(torch.randn(1, 64, width) * 0.1)
        self.layers = nn.ModuleList(Attending(width) for _ in range(layers))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patch(x).flatten(2).transpose(1, 2) + self.place
        for layer in self.layers:
            y = layer(y)
        return self.head(y.mean(1))


class Attending(nn.Module):
    """One layer of a transformer, its attention spelled out."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.three, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, width = x.shape
        three = self.three(self.before(x)).view(batch, steps, 3, self.heads, -1)
        query, key, value = three.permute(2, 0, 3, 1, 4).unbind(0)
        found = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(found.transpose(1, 2).reshape(batch, steps, width))
        return x + self.narrow(functional.gelu(self.wide(self.between(x))))


class Tied(nn.Module):
    """A language model that reads and writes with one table."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(words, width)
        self.layer = Attending(width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layer(self.table(tokens)))


class Recurrent(nn.Module):
    """Recurrent layers and what is made of their last step."""

    def __init__(self, layer: type[nn.Module], **settings: Any) -> None:
        super().__init__()
        self.layer = layer(64, 128, batch_first=True, **settings)
        self.head = nn.Linear(256 if settings.get("bidirectional") else 128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


def _plain() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 64), (64, 64)):
        layers += [_normalised(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, Head(64))


def _residual() -> nn.Module:
    blocks = [
        Residual(3, 32, 1),
        Residual(32, 32, 1),
        Residual(32, 64, 2),
        Residual(64, 64, 1),
    ]
    return nn.Sequential(*blocks, Head(64))


def _squeezed() -> nn.Module:
    enter = _normalised(3, 32, stride=2)
    return nn.Sequential(enter, Squeezed(32, 96), Squeezed(32, 96), Squeezed(32, 96), Head(32))


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


def _image() -> Tensor:
    return torch.randn(16, 3, 32, 32)


def _steps() -> Tensor:
    return torch.randn(16, 32, 64)


FEEDFORWARD: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "CNN + BN": (_plain, _image),
    "residual": (_residual, _image),
    "depthwise, SE": (_squeezed, _image),
    "U-Net": (lambda: Mirrored(24), _image),
    "encoder": (_encoder, lambda: torch.randn(16, 64, 128)),
    "ViT": (lambda: Patches(128, 3), _image),
    "tied LM": (lambda: Tied(2000, 128), lambda: torch.randint(0, 2000, (8, 64))),
}
RECURRENT: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "LSTM, two ways": (lambda: Recurrent(nn.LSTM, bidirectional=True), _steps),
    "GRU, two layers": (lambda: Recurrent(nn.GRU, num_layers=2), _steps),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """Return a model as it is used, with an input; always the same ones."""
    build, sample = (FEEDFORWARD | RECURRENT)[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return build().eval(), sample()
