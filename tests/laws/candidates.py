"""Small sets of tensors as allocations see them."""

import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from onnxprune.allocations.candidate import Candidate
from onnxprune.least_squares import Gram, Part
from onnxprune.registry import Entry
from onnxprune.scoring import Given
from onnxprune.selection import Ranking
from onnxprune.types import Array, Layout, Weight

POSITIVE = ("curvature", "flow", "input_norm")


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
    needs |= {name: drawn(name, [c.weight for c in given], 0) for name in entry.measured}
    options = {"sigma": "1"} if "sigma" in entry.options else {}
    counts: list[int] = entry.function(given, zeros, **needs, **options)
    return counts


def statistics(entry: Entry, weights: Sequence[Weight], seed: int = 0) -> Given:
    """Draw what a method would measure of some weights."""
    found: dict[str, dict[str, Any]] = {}
    for name in entry.measured:
        matrices = drawn(name, weights, seed)
        found[name] = {
            each.path: matrices[each.path]
            if isinstance(matrices[each.path], Gram)
            else each.layout.flat(matrices[each.path])
            for each in weights
        }
    return Given(found, zeros={each.path: each.size // 2 for each in weights})


def drawn(name: str, weights: Sequence[Weight], seed: int) -> dict[str, Any]:
    """Draw one statistic, as matrices."""
    found: dict[str, Any] = {}
    for weight in weights:
        own = zlib.crc32(f"{name} of {weight.path}".encode())
        random = np.random.default_rng([seed, own])
        rows = weight.layout.output_count
        columns = weight.size // rows
        values = random.standard_normal((rows, columns))
        found[weight.path] = np.abs(values) if name in POSITIVE else values
        if name == "gram":
            inputs = random.standard_normal((columns, 2 * columns))
            square, total = inputs @ inputs.T, inputs.sum(1)
            part = Part(np.arange(rows), square, square, 2 * columns, total, total)
            found[weight.path] = Gram((part,))
    return found


def masks(given: list[Candidate], counts: list[int]) -> list[Array]:
    """Apply the cuts of these counts; True where a weight falls away."""
    from onnxprune.selection import Sieve

    return [
        Sieve(c.scores.cut(count)).pruned(c.scores.read(0, c.weight.size))
        for c, count in zip(given, counts, strict=True)
    ]
