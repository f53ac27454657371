"""Slow, direct reference masks for the methods that look at weights only.

The oracle of the tests: whole arrays in memory, exact fractions for the targets, one stable
sort per decision, which is made once for the same numbers. It shares no code with the package and imports nothing from it.

Every method takes the layers in graph order and the total of zeros, and gives one mask per
layer in the stored shape, True where the weight is kept. Among equal scores the first layer
goes first, then the lowest C-order index.
"""

import hashlib
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Masks = list[NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Layer:
    """One prunable tensor.

    Args:
        name: path of the tensor.
        magnitude: absolute weights, or |q - zero point| * scale, in the stored shape.
        n_out: output units.
        n_in: input channels each of them sees.
    """

    name: str
    magnitude: Floats
    n_out: int
    n_in: int


class Infeasible(ValueError):  # noqa: N818 - a verdict on the request, not a fault
    """No mask with that many zeros satisfies the rule.

    Args:
        zeros: what was asked.
        largest_zeros: the most that can be had, never more than asked.
    """

    def __init__(self, zeros: int, largest_zeros: int) -> None:
        super().__init__(f"{zeros} zeros asked, at most {largest_zeros} possible")
        self.largest_zeros = largest_zeros


def global_magnitude(layers: Sequence[Layer], zeros: int) -> Masks:
    """Prune the smallest magnitudes over all layers."""
    _check(layers, zeros)
    return _drop_smallest(_magnitudes(layers), zeros)


def uniform(layers: Sequence[Layer], zeros: int) -> Masks:
    """Prune every layer at the same sparsity."""
    _check(layers, zeros)
    return _drop_in_each(_magnitudes(layers), _uniform_counts(layers, zeros))


def uniform_plus(layers: Sequence[Layer], zeros: int) -> Masks:
    """Keep a 4-D first layer dense and a fifth of the last; the rest at one sparsity."""
    sizes = _sizes(layers)
    last = len(layers) - 1
    body = [i for i in range(len(layers)) if i > 0 or layers[0].magnitude.ndim != 4]
    body_size = sum(sizes[i] for i in body)
    floor_last = round(Fraction(1, 5) * sizes[last])
    _check(layers, zeros, body_size - floor_last if body else 0)
    targets = [Fraction(0)] * len(layers)
    if zeros > 0:
        rate = Fraction(zeros, body_size)
        if round((1 - rate) * sizes[last]) < floor_last:
            targets[last] = Fraction(sizes[last] - floor_last)
            rate = (zeros - targets[last]) / (body_size - sizes[last])
            body.remove(last)
        for i in body:
            targets[i] = rate * sizes[i]
    # Rounding up must not take from the fifth of the last layer either.
    caps = [*sizes[:last], sizes[last] - floor_last]
    return _drop_in_each(_magnitudes(layers), _largest_remainder(targets, zeros, caps))


def er(layers: Sequence[Layer], zeros: int) -> Masks:
    """Keep in proportion to size * (n_in + n_out) / (n_in * n_out), whatever the kernel."""
    shares = [
        Fraction(layer.magnitude.size * (layer.n_in + layer.n_out), layer.n_in * layer.n_out)
        for layer in layers
    ]
    return _keep_in_proportion(layers, zeros, shares)


def erk(layers: Sequence[Layer], zeros: int) -> Masks:
    """Keep in proportion to the sum of the stored shape."""
    shares = [Fraction(sum(layer.magnitude.shape)) for layer in layers]
    return _keep_in_proportion(layers, zeros, shares)


def lamp_scores(magnitude: Floats, *, round_sums: bool = False) -> Floats:
    """Score the flattened magnitudes in stable ascending order: w² over the sum from w on.

    Args:
        magnitude: absolute weights of one layer.
        round_sums: round each square and each (exact) sum to float64 before dividing;
            otherwise the quotient is the only thing that is rounded.
    """
    return _lamp_scores(_Numbers.of(magnitude.astype(np.float64)), round_sums)


@lru_cache(maxsize=200)
def _lamp_scores(magnitude: "_Numbers", round_sums: bool) -> Floats:
    ordered = np.sort(magnitude.array, axis=None, kind="stable")
    if round_sums:
        ordered = ordered * ordered
    numbers, unit = _common_integers(ordered)
    squares = numbers if round_sums else [number * number for number in numbers]
    tails = list(accumulate(reversed(squares)))[::-1]
    # Python rounds the quotient of two integers once, correctly.
    pairs: Iterable[tuple[float, float]] = zip(squares, tails, strict=True)
    if round_sums:
        pairs = zip(ordered.tolist(), [tail / unit for tail in tails], strict=True)
    return _fixed(np.array([square / tail if tail else 0.0 for square, tail in pairs]))


def lamp(layers: Sequence[Layer], zeros: int, *, round_sums: bool = False) -> Masks:
    """Prune the lowest LAMP scores over all layers."""
    _check(layers, zeros)
    scores = [lamp_scores(layer.magnitude, round_sums=round_sums) for layer in layers]
    counts = zero_counts(_drop_smallest(scores, zeros))
    return _drop_in_each(_magnitudes(layers), counts)


def min_threshold(
    layers: Sequence[Layer],
    zeros: int,
    sigma: int,
    mode: Literal["protect", "rescale"] = "protect",
) -> Masks:
    """Prune by magnitude over all layers, but leave every layer at least sigma weights.

    Args:
        layers: the layers in graph order.
        zeros: total to prune.
        sigma: weights every layer keeps; a smaller layer keeps all it has.
        mode: keep each layer's largest out of the ranking, or scale the layerwise ratios
            of the plain global ranking until they fit.
    """
    if sigma < 0:
        raise ValueError(f"sigma is {sigma}; it must not be negative")
    rooms = [max(size - sigma, 0) for size in _sizes(layers)]
    if mode == "rescale":
        return _drop_in_each(_magnitudes(layers), _rescaled_counts(layers, zeros, rooms))
    _check(layers, zeros, sum(rooms))
    # The protected entries rank behind all others.
    largest = zip(_drop_in_each(_magnitudes(layers), rooms), layers, strict=True)
    scores = [np.where(protected, np.inf, layer.magnitude) for protected, layer in largest]
    return _drop_smallest(scores, zeros)


def from_ratios(
    layers: Sequence[Layer], zeros: int, ratios: Mapping[str, float | Fraction]
) -> Masks:
    """Prune every layer at its ratio times one factor, which makes the total exact.

    Args:
        layers: the layers in graph order.
        zeros: total to prune.
        ratios: pruned part of each layer by its name, in [0, 1].
    """
    sizes = _sizes(layers)
    shares = [Fraction(ratios[layer.name]) * layer.magnitude.size for layer in layers]
    _check(layers, zeros, _open_room(sizes, shares))
    targets = _water_fill(zeros, shares, sizes)
    return _drop_in_each(_magnitudes(layers), _largest_remainder(targets, zeros, sizes))


def random_global(layers: Sequence[Layer], zeros: int, seed: int) -> Masks:
    """Prune the lowest random scores over all layers."""
    _check(layers, zeros)
    return _drop_smallest(_random_scores(layers, seed), zeros)


def random_uniform(layers: Sequence[Layer], zeros: int, seed: int) -> Masks:
    """Prune the lowest random scores of each layer, every layer at the same sparsity."""
    _check(layers, zeros)
    return _drop_in_each(_random_scores(layers, seed), _uniform_counts(layers, zeros))


def zero_counts(masks: Iterable[NDArray[np.bool_]]) -> list[int]:
    """Count the pruned entries of each mask."""
    return [int((~mask).sum()) for mask in masks]


def _check(layers: Sequence[Layer], zeros: int, largest: int | None = None) -> None:
    for layer in layers:
        if not np.isfinite(layer.magnitude).all():
            raise ValueError(f"{layer.name!r} has a magnitude that is not finite")
    if zeros < 0:
        raise ValueError(f"{zeros} zeros asked; it must not be negative")
    largest = sum(_sizes(layers)) if largest is None else largest
    if zeros > largest:
        raise Infeasible(zeros, largest)


def _sizes(layers: Sequence[Layer]) -> list[int]:
    return [layer.magnitude.size for layer in layers]


def _magnitudes(layers: Sequence[Layer]) -> list[Floats]:
    return [layer.magnitude for layer in layers]


def _drop_smallest(scores: Sequence[Floats], zeros: int) -> Masks:
    flat = np.concatenate([score.ravel() for score in scores])
    keep = np.ones(flat.size, dtype=np.bool_)
    keep[_ascending(_Numbers.of(flat))[:zeros]] = False
    ends = list(accumulate(score.size for score in scores))
    parts = np.split(keep, ends[:-1])
    return [part.reshape(score.shape) for part, score in zip(parts, scores, strict=True)]


@dataclass(frozen=True)
class _Numbers:
    """An array that is another's equal if all its numbers are, in the same order."""

    digest: bytes
    array: Floats = field(compare=False)

    @staticmethod
    def of(array: Floats) -> "_Numbers":
        return _Numbers(hashlib.sha256(np.ascontiguousarray(array).data).digest(), array)


@lru_cache(maxsize=200)
def _ascending(numbers: _Numbers) -> NDArray[np.intp]:
    return _fixed(np.argsort(numbers.array, kind="stable"))


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """Let nobody change what others are given, too."""
    array.flags.writeable = False
    return array


def _drop_in_each(scores: Sequence[Floats], counts: Sequence[int]) -> Masks:
    return [_drop_smallest([s], count)[0] for s, count in zip(scores, counts, strict=True)]


def _uniform_counts(layers: Sequence[Layer], zeros: int) -> list[int]:
    sizes = _sizes(layers)
    targets = [Fraction(zeros * size, sum(sizes)) for size in sizes]
    return _largest_remainder(targets, zeros, sizes)


def _keep_in_proportion(
    layers: Sequence[Layer], zeros: int, shares: Sequence[Fraction]
) -> Masks:
    _check(layers, zeros)
    sizes = _sizes(layers)
    kept = _water_fill(sum(sizes) - zeros, shares, sizes)
    targets = [size - k for size, k in zip(sizes, kept, strict=True)]
    return _drop_in_each(_magnitudes(layers), _largest_remainder(targets, zeros, sizes))


def _rescaled_counts(layers: Sequence[Layer], zeros: int, rooms: Sequence[int]) -> list[int]:
    def shares_of(total: int) -> list[Fraction]:
        return [Fraction(c) for c in zero_counts(_drop_smallest(_magnitudes(layers), total))]

    # A layer that the plain global ranking leaves dense stays dense, whatever the factor.
    largest = min(zeros, sum(rooms))
    while largest > _open_room(rooms, shares_of(largest)):
        largest -= 1
    _check(layers, zeros, largest)
    return _largest_remainder(_water_fill(zeros, shares_of(zeros), rooms), zeros, rooms)


def _open_room(rooms: Sequence[int], shares: Sequence[Fraction]) -> int:
    return sum(room for room, share in zip(rooms, shares, strict=True) if share > 0)


def _water_fill(total: int, shares: Sequence[Fraction], caps: Sequence[int]) -> list[Fraction]:
    """Give min(cap, factor * share) to each, with the one factor that gives the total."""
    every = range(len(caps))
    full: set[int] = set()
    while True:
        rest = [i for i in every if i not in full]
        room = total - sum(caps[i] for i in full)
        share_sum = sum((shares[i] for i in rest), Fraction(0))
        factor = room / share_sum if share_sum else Fraction(0)
        over = {i for i in rest if factor * shares[i] > caps[i]}
        if not over:
            return [Fraction(caps[i]) if i in full else factor * shares[i] for i in every]
        full |= over


def _largest_remainder(
    targets: Sequence[Fraction], total: int, caps: Sequence[int]
) -> list[int]:
    counts = [math.floor(target) for target in targets]
    for i in sorted(range(len(targets)), key=lambda i: counts[i] - targets[i]):
        if sum(counts) < total and counts[i] < caps[i]:
            counts[i] += 1
    assert sum(counts) == total
    return counts


def _common_integers(values: Floats) -> tuple[list[int], int]:
    """Express the values exactly as integers over one common power of two."""
    ratios = [value.as_integer_ratio() for value in values.tolist()]
    unit = max((denominator for _, denominator in ratios), default=1)
    return [numerator * (unit // denominator) for numerator, denominator in ratios], unit


def _random_scores(layers: Sequence[Layer], seed: int) -> list[Floats]:
    return [
        np.random.default_rng([seed, zlib.crc32(layer.name.encode())])
        .random(layer.magnitude.size)
        .reshape(layer.magnitude.shape)
        for layer in layers
    ]
