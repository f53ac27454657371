"""The columns that a weight's matrix is multiplied with, made in pieces that fit into memory."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from onnxprune.types import Array


class Columns(Protocol):
    """A matrix [features, positions] that exists in pieces only."""

    @property
    def positions(self) -> int:
        """How many columns there are in all."""

    def chunks(self, limit: int) -> Iterator[Tensor]:
        """Return the columns, as many at a time as have `limit` elements, but at least one."""


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """Columns that lie in a tensor.

    Args:
        x: [samples, features, places].
    """

    x: Tensor

    @property
    def features(self) -> int:
        """How many rows there are."""
        return self.x.shape[1]

    @property
    def positions(self) -> int:
        """How many columns there are in all."""
        return self.x.shape[0] * self.x.shape[2]

    def chunks(self, limit: int) -> Iterator[Tensor]:
        """Return the columns in pieces."""
        samples, features, places = self.x.shape
        for sample, place in blocks((samples, places), limit // max(features, 1)):
            yield self.x[sample, :, place].transpose(0, 1).reshape(features, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """What a kernel sees at each place that it slides to: channels, then taps.

    Args:
        x: [samples, channels, ...].
        kernel: its extent in taps, and one number per dimension for each of the others.
        strides: steps between windows.
        dilations: steps between taps.
        begins: zeros before the first value; a negative number cuts. `ends`: behind the last.
        apart: how far neighbours are put from each other, with zeros between, before that.
    """

    x: Tensor
    kernel: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    begins: Sequence[int]
    ends: Sequence[int]
    apart: Sequence[int]

    @property
    def places(self) -> tuple[int, ...]:
        """How many windows there are along each dimension."""
        found = []
        for dim, size in enumerate(self.x.shape[2:]):
            whole = (size - 1) * self.apart[dim] + 1 + self.begins[dim] + self.ends[dim]
            span = (self.kernel[dim] - 1) * self.dilations[dim] + 1
            found.append((whole - span) // self.strides[dim] + 1)
        return tuple(found)

    @property
    def features(self) -> int:
        """How many rows there are."""
        return self.x.shape[1] * math.prod(self.kernel)

    @property
    def positions(self) -> int:
        """How many columns there are in all."""
        return self.x.shape[0] * math.prod(self.places)

    def chunks(self, limit: int) -> Iterator[Tensor]:
        """Return the columns in pieces."""
        places, features, rank = self.places, self.features, len(self.kernel)
        budget = max(limit // max(features, 1), 1)
        for samples, *_ in blocks((self.x.shape[0], *places), budget, whole=True):
            seen = self._seen(self._prepared(self.x[samples]), places)
            for block in blocks(seen.shape[1 + rank :], budget):
                piece = seen[(slice(None),) * (1 + rank) + block]
                yield piece.reshape(features, -1)

    def _prepared(self, x: Tensor) -> Tensor:
        """Put zeros between and around the values."""
        if any(step > 1 for step in self.apart):
            sizes = [
                (n - 1) * step + 1 for n, step in zip(x.shape[2:], self.apart, strict=True)
            ]
            wide = x.new_zeros((*x.shape[:2], *sizes))
            wide[(slice(None), slice(None), *(slice(None, None, n) for n in self.apart))] = x
            x = wide
        pairs = zip(reversed(self.begins), reversed(self.ends), strict=True)
        return functional.pad(x, [amount for pair in pairs for amount in pair]).contiguous()

    def _seen(self, x: Tensor, places: Sequence[int]) -> Tensor:
        """Show [channels, taps ..., samples, places ...] without a copy."""
        sample, channel, *steps = x.stride()
        taps = [step * gap for step, gap in zip(steps, self.dilations, strict=True)]
        moves = [step * each for step, each in zip(steps, self.strides, strict=True)]
        shape = (x.shape[1], *self.kernel, x.shape[0], *places)
        return x.as_strided(shape, (channel, *taps, sample, *moves))


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Some of the features of other columns, in an order of their own.

    Args:
        source: the other columns.
        indices: of which of them; None for all.
        sums: for each of these, the feature that it is added to; None where none are added.
        factor: what all of them are multiplied by.
    """

    source: Columns
    indices: Array | None
    sums: Array | None
    factor: float

    @property
    def positions(self) -> int:
        """How many columns there are in all."""
        return self.source.positions

    def chunks(self, limit: int) -> Iterator[Tensor]:
        """Return the columns in pieces."""
        for piece in self.source.chunks(limit):
            chosen = piece
            if self.indices is not None:
                chosen = chosen[torch.from_numpy(self.indices).to(piece.device)]
            if self.sums is not None:
                to = torch.from_numpy(self.sums).to(piece.device)
                empty = chosen.new_zeros((int(to.max()) + 1, chosen.shape[1]))
                chosen = empty.index_add(0, to, chosen)
            yield chosen if self.factor == 1 else chosen * self.factor


def blocks(
    sizes: Sequence[int], budget: int, whole: bool = False
) -> Iterator[tuple[slice, ...]]:
    """Divide a box into parts of at most `budget` cells, in order.

    Args:
        sizes: of the box.
        budget: how many; a part has one cell at least.
        whole: whether it is only divided along the first dimension.
    """
    if 0 in sizes:
        return
    first, *rest = sizes
    inner = math.prod(rest)
    step = max(budget // inner, 1)
    for start in range(0, first, step):
        head = slice(start, min(start + step, first))
        if whole or inner <= max(budget, 1):
            yield (head, *[slice(None)] * len(rest))
        else:
            for tail in blocks(rest, budget):
                yield (head, *tail)
