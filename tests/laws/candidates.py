"""Small sets of tensors as allocations see them."""

import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from onnxprune.allocations.candidate import Candidate
from onnxprune.registry import Entry
from onnxprune.scoring import Given
from onnxprune.selection import Ranking
from onnxprune.types import Array, Layout, Weight

POSITIVE = ("curvature", "flow")


def weight_of(name: str, values: Array) -> Weight:
    axes = tuple(range(values.ndim))
    layout = Layout(values.shape, axes[:1], axes[2:], axes[1:2])
    return Weight(name, "Conv", name, values.shape, "float32", values.size, layout)


def ranking(name: str, scores: Array) -> Ranking:
    flat = scores.reshape(-1)
    return Ranking(name, scores.shape, lambda start, stop: flat[start:stop])


def candidates(tensors: list[Array], limits: list[int] | None = None) -> list[Candidate]:
    """Make one candidate per array of weights, ranked by magnitude."""
    made = []
    for number, values in enumerate(tensors):
        name = f"w{number}"
        ranked = ranking(name, np.abs(values))
        limit = values.size if limits is None else limits[number]
        made.append(Candidate(weight_of(name, values), ranked, ranked, limit))
    return made


def call(entry: Entry, given: list[Candidate], zeros: int) -> list[int]:
    """Call an allocation with what it asks for; floors are kept small."""
    needs: dict[str, Any] = {}
    if "ratios" in entry.needs:
        needs["ratios"] = {c.weight.path: Fraction(1, 2) for c in given}
    options = {"sigma": "1"} if "sigma" in entry.options else {}
    counts: list[int] = entry.function(given, zeros, **needs, **options)
    return counts


def statistics(entry: Entry, weights: Sequence[Weight], seed: int = 0) -> Given:
    """Draw what a method would measure of some weights."""
    drawn: dict[str, dict[str, Array]] = {}
    for name in entry.measured:
        drawn[name] = {}
        for weight in weights:
            own = zlib.crc32(f"{name} of {weight.path}".encode())
            values = np.random.default_rng([seed, own]).standard_normal(weight.size)
            drawn[name][weight.path] = np.abs(values) if name in POSITIVE else values
    return Given(drawn)


def masks(given: list[Candidate], counts: list[int]) -> list[Array]:
    """Apply the cuts of these counts; True where a weight falls away."""
    from onnxprune.selection import Sieve

    return [
        Sieve(c.scores.cut(count)).pruned(c.scores.read(0, c.weight.size))
        for c, count in zip(given, counts, strict=True)
    ]
