"""Small torch models of the usual kinds, to be exported and imported again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.around = nn.Conv2d(3, 8, 1, stride=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(torch.relu(self.norm(self.first(x))))
        y = torch.relu(inner + self.around(x))
        return self.head(y.mean((2, 3)))


class Squeezed(nn.Module):
    """A depthwise convolution whose channels are weighted by what is in them."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 12, 1)
        self.depth = nn.Conv2d(12, 12, 5, padding=2, groups=12)
        self.down = nn.Conv2d(12, 4, 1)
        self.up = nn.Conv2d(4, 12, 1)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.silu(self.depth(nn.functional.hardswish(self.wide(x))))
        scale = torch.sigmoid(self.up(torch.relu(self.down(y.mean((2, 3), keepdim=True)))))
        return self.head((y * scale).amax((2, 3)))


class Patches(nn.Module):
    """A transformer over the patches of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.place = nn.Parameter(torch.randn(1, 5, 16) * 0.1)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.wide = nn.Linear(16, 32)
        self.narrow = nn.Linear(32, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(y.shape[0], -1, -1), y], 1) + self.place
        z = self.norm(y)
        y = y + self.attention(z, z, z, need_weights=False)[0]
        y = y + self.narrow(nn.functional.gelu(self.wide(y)))
        return self.head(y[:, 0])


class Recurrent(nn.Module):
    """Recurrent layers and what is made of their last step."""

    def __init__(self, layer: type[nn.Module], **settings: Any) -> None:
        super().__init__()
        self.layer = layer(6, 7, batch_first=True, **settings)
        self.head = nn.Linear(14 if settings.get("bidirectional") else 7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


class Mirrored(nn.Module):
    """Down and up again, with a way across."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 6, 3, padding=1)
        self.inside = nn.Conv2d(6, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.leave = nn.Conv2d(12, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        one = torch.relu(self.enter(x))
        two = torch.relu(self.inside(nn.functional.max_pool2d(one, 2)))
        wide = nn.functional.interpolate(self.up(two), scale_factor=1.0)
        y = self.leave(torch.cat([one, wide], 1))
        return nn.functional.interpolate(
            y, scale_factor=2.0, mode="bilinear", align_corners=False
        )


class Tied(nn.Module):
    """A language model that reads and writes with one table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.layer = nn.Linear(8, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(self.table(tokens))))


def _plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.LeakyReLU(0.1),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 16, 5),
    )


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        16, 4, 24, dropout=0.0, batch_first=True, activation="gelu"
    )
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def _image() -> Tensor:
    return torch.randn(2, 3, 8, 8)


def _steps() -> Tensor:
    return torch.randn(2, 5, 6)


NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "plain": (_plain, _image),
    "residual": (Residual, _image),
    "squeezed": (Squeezed, _image),
    "encoder": (_encoder, lambda: torch.randn(2, 5, 16)),
    "patches": (Patches, _image),
    "lstm": (lambda: Recurrent(nn.LSTM, bidirectional=True), _steps),
    "gru": (lambda: Recurrent(nn.GRU, num_layers=2), _steps),
    "mirrored": (Mirrored, _image),
    "tied": (Tied, lambda: torch.randint(0, 11, (2, 4))),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """Return a model, always with the same weights and statistics, and an input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        build, sample = NETS[name]
        net, given = build(), sample()
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None and layer.running_var is not None
                nn.init.uniform_(layer.running_mean, -0.5, 0.5)
                nn.init.uniform_(layer.running_var, 0.5, 2.0)
        # No two of them alike: tests tell tensors apart by their values.
        for parameter in net.parameters():
            nn.init.normal_(parameter, 0.0, 0.3)
    return net.eval(), given
