"""Changes samples so that training does not see the same ones twice."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from onnxprune.errors import UsageError

FEW = 4
"""Channels that a picture has at most, where nothing else says which dimension they are in."""

REACH = 8
"""The part of a picture by which it is shifted at most: an eighth."""


class Augmenting:
    """Flips pictures, shifts them, or mixes samples; the dense model answers for what results.

    Args:
        ways: what is done, of `flip`, `shift` and `mix`.
        pictures: the inputs that are pictures, with the dimension of their channels.
        generator: of random numbers.
    """

    def __init__(
        self, ways: Sequence[str], pictures: Mapping[str, int], generator: torch.Generator
    ) -> None:
        self.ways = tuple(ways)
        self.pictures = dict(pictures)
        self._generator = generator

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs that were changed; those that are no pictures stay."""
        changed = dict(feeds)
        if not self.ways or not self.pictures:
            return changed
        # Pictures of one sample belong together: all are changed alike.
        count = len(feeds[next(iter(self.pictures))])
        flipped, moves = self._random(count) < 0.5, 2 * self._random(2 * count) - 1
        for name, channels in self.pictures.items():
            value = feeds[name]
            across, down = (3, 2) if channels == 1 else (2, 1)
            if "flip" in self.ways:
                value = torch.where(_rows(flipped, value), value.flip(across), value)
            if "shift" in self.ways:
                value = _shift(value, down, moves[:count])
                value = _shift(value, across, moves[count:])
            changed[name] = value
        if "mix" in self.ways:
            self._mix(changed)
        return changed

    def _mix(self, feeds: dict[str, Any]) -> None:
        """Add to every sample up to half of its neighbour; all inputs of it alike."""
        share: Tensor | None = None
        for name in self.pictures:
            value = feeds[name]
            if share is None:
                share = self._random(len(value)) / 2
            part = _rows(share, value).to(value.dtype)
            feeds[name] = value * (1 - part) + value.roll(1, 0) * part

    def _random(self, count: int) -> Tensor:
        return torch.rand(count, generator=self._generator)


def find_pictures(feeds: Mapping[str, Any], known: set[str]) -> dict[str, int]:
    """Return which inputs are pictures, and in which dimension their channels are.

    Args:
        feeds: the inputs of some samples.
        known: those that were made of pixels; others count by their shape alone.
    """
    found = {}
    for name, value in feeds.items():
        if isinstance(value, Tensor) and value.dim() == 4 and value.is_floating_point():
            last = value.shape[3] <= FEW < value.shape[1]
            if name in known or last or value.shape[1] <= FEW:
                found[name] = 3 if last else 1
    return found


def choose_ways(asked: Sequence[str] | None, pictures: bool, known: bool) -> tuple[str, ...]:
    """Return what is done with samples.

    Args:
        asked: what the recipe asks for; None does what is right for the samples.
        pictures: whether there are pictures at all.
        known: whether they are known to be some.
    """
    if asked is None:
        return ("flip", "shift") if known else ()
    if asked and not pictures:
        raise UsageError(
            "--augment changes pictures, and no input takes four dimensions with channels",
            "--augment none",
        )
    return tuple(asked)


def _shift(value: Tensor, axis: int, moves: Tensor) -> Tensor:
    """Move every picture by up to an eighth; its mirrored edge fills the gap."""
    size = value.shape[axis]
    reach = size // REACH
    if not reach:
        return value
    places = torch.arange(size) + (moves * (reach + 0.5)).round().unsqueeze(1).long()
    places = places.abs()
    places = (size - 1) - ((size - 1) - places).abs()
    return _taken(value, places.to(value.device), axis)


def _rows(values: Tensor, model: Tensor) -> Tensor:
    """Give one value per sample the shape that fits samples."""
    return values.to(model.device).reshape(-1, *[1] * (model.dim() - 1))


def _taken(value: Tensor, places: Tensor, axis: int) -> Tensor:
    """Take, of every sample, other places along a dimension."""
    shape = [1] * value.dim()
    shape[0], shape[axis] = len(value), places.shape[1]
    index = places.reshape(shape).expand_as(value)
    return value.gather(axis, index)
