"""Finds how many of the lowest scores over all tensors fall in each, without a global sort.

Every tensor presents its scores as ascending groups with a lower and an upper bound. The
groups that cannot decide are counted; the few around the cut are looked at more closely,
until single scores are left. Equal scores go to the earlier tensor first.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from onnxprune.allocations.groups import (
    Blocks,
    Exact,
    Groups,
    Scale,
    blocks_of,
    joined,
    truncated,
)
from onnxprune.selection import Ranking, Values
from onnxprune.threads import parallel
from onnxprune.types import Array

EXPAND = 1 << 18
"""Up to so many single scores are compared at once."""

APART = 1 << 18
"""Up to so many copies are separated whose scores differ by less than float64 can tell."""

JOIN = 16
"""So many neighbouring groups count as one where all tensors are looked at together."""


def lowest(
    rankings: Sequence[Ranking], limits: Sequence[int], zeros: int, scale: Scale
) -> list[int]:
    """Count, per tensor, the scores among the `zeros` lowest of all.

    Args:
        rankings: one per tensor, in graph order.
        limits: how many of each tensor's lowest may be taken at most.
        zeros: how many to take in all; not more than the sum of limits.
        scale: how scores compare across tensors.
    """
    if zeros == 0:
        return [0] * len(rankings)
    bins = parallel(lambda ranking: ranking.bins(), rankings)

    def ranges(index: int) -> Groups:
        low, high = scale.bound(bins[index])
        return truncated(Groups(low, high, bins[index].counts), limits[index])

    counts, spans = _narrow(ranges, len(rankings), zeros, scale.tolerance)

    def examine(index: int) -> Values:
        keys = bins[index].keys[spans[index]]
        if keys.size == 0:
            return Values(np.empty(0), np.empty(0, np.int64))
        exponent = scale.exponent(bins[index])
        return rankings[index].values(int(keys[0]), int(keys[-1]), exponent)

    found = parallel(examine, range(len(rankings)))
    left = [limit - count for limit, count in zip(limits, counts, strict=True)]

    def copies(index: int) -> Blocks:
        return blocks_of(index, scale.pieces(found[index], bins[index]), left[index])

    def distinct(index: int) -> Groups:
        blocks = copies(index)
        return Groups(blocks.low(), blocks.high(), blocks.counts())

    more, spans = _narrow(distinct, len(rankings), zeros - sum(counts), scale.tolerance)
    counts = [count + extra for count, extra in zip(counts, more, strict=True)]
    blocks = joined([copies(index).take(spans[index]) for index in range(len(rankings))])
    for tensor, count in _settle(blocks, zeros - sum(counts), rankings, scale).items():
        counts[tensor] += count
    return counts


def _narrow(
    groups_of: Callable[[int], Groups], tensors: int, zeros: int, tolerance: float
) -> tuple[list[int], list[slice]]:
    """Count what surely falls in each tensor, and find the groups that cannot tell.

    Groups are made twice, so that not all of them have to be there at once.
    """
    bounds = _bracket(
        [_coarse(groups_of(index)) for index in range(tensors)], zeros, tolerance
    )
    near = []
    counts, spans = [], []
    for index in range(tensors):
        groups = groups_of(index)
        span = _open(groups, bounds)
        counts.append(int(groups.counts[: span.start].sum()))
        spans.append(span)
        # Copies: a view would keep all groups of every tensor in memory.
        fields = (groups.low, groups.high, groups.counts)
        near.append(Groups(*(array[span].copy() for array in fields)))
    bounds = _bracket(near, zeros - sum(counts), tolerance)
    for index, groups in enumerate(near):
        span = _open(groups, bounds)
        counts[index] += int(groups.counts[: span.start].sum())
        start = spans[index].start
        spans[index] = slice(start + span.start, start + span.stop)
    return counts, spans


def _open(groups: Groups, bounds: tuple[float, float]) -> slice:
    """Return the groups that may hold scores on both sides of the cut."""
    start = int(np.searchsorted(np.maximum.accumulate(groups.high), bounds[0]))
    stop = int(np.searchsorted(np.maximum.accumulate(groups.low), bounds[1], side="right"))
    return slice(start, max(start, stop))


def _coarse(groups: Groups) -> Groups:
    """Join neighbouring groups, so that many tensors' fit in memory."""
    if groups.counts.size <= JOIN:
        return groups
    starts = np.arange(0, groups.counts.size, JOIN)
    ends = np.minimum(starts + JOIN, groups.counts.size) - 1
    counts = np.add.reduceat(groups.counts, starts)
    return Groups(groups.low[starts], groups.high[ends], counts)


def _settle(
    blocks: Blocks, zeros: int, rankings: Sequence[Ranking], scale: Scale
) -> dict[int, int]:
    """Take the lowest of the blocks' copies, splitting those that straddle the cut."""
    taken: dict[int, int] = {}
    while zeros > 0:
        groups = [Groups(blocks.low(), blocks.high(), blocks.counts())]
        bottom, top = _bracket(groups, zeros, scale.tolerance)
        sure = groups[0].high < bottom
        for tensor, count in zip(blocks.tensor[sure], groups[0].counts[sure], strict=True):
            taken[int(tensor)] = taken.get(int(tensor), 0) + int(count)
            zeros -= int(count)
        blocks = blocks.take(~sure & (groups[0].low <= top))
        wide = blocks.low() < blocks.high()
        if not wide.any():
            _take_in_order(blocks, zeros, rankings, scale, taken)
            break
        blocks = _split(blocks, wide)
    return taken


def _take_in_order(
    blocks: Blocks,
    zeros: int,
    rankings: Sequence[Ranking],
    scale: Scale,
    taken: dict[int, int],
) -> None:
    """Take from blocks of one score each; those too close to tell apart are scored exactly."""
    scores: list[float | Fraction] = blocks.low().tolist()
    several = np.unique(blocks.tensor).size > 1
    if scale.tolerance and several and blocks.counts().sum() > zeros:
        blocks = _apart(blocks)
        scores = _exact_scores(blocks, rankings, scale)

    def place(index: int) -> tuple[float | Fraction, int, float, int]:
        value = float(blocks.pieces.values[index])
        return scores[index], int(blocks.tensor[index]), value, -int(blocks.first[index])

    counts = blocks.counts()
    for index in sorted(range(len(scores)), key=place):
        tensor = int(blocks.tensor[index])
        count = min(zeros, int(counts[index]))
        taken[tensor] = taken.get(tensor, 0) + count
        zeros -= count


def _apart(blocks: Blocks) -> Blocks:
    """Separate copies whose scores differ by less than float64 can tell."""
    different = (
        (blocks.counts() > 1) & (blocks.pieces.numerator > 0) & (blocks.pieces.step > 0)
    )
    if not different.any() or int(blocks.counts()[different].sum()) > APART:
        return blocks
    return _split(blocks, different)


def _exact_scores(
    blocks: Blocks, rankings: Sequence[Ranking], scale: Scale
) -> list[float | Fraction]:
    known: dict[tuple[int, float], Exact] = {}
    scores: list[float | Fraction] = []
    for tensor, value, later in zip(
        blocks.tensor.tolist(),
        blocks.pieces.values.tolist(),
        blocks.last.tolist(),
        strict=True,
    ):
        if (tensor, value) not in known:
            known[tensor, value] = scale.exact(rankings[tensor], value)
        scores.append(known[tensor, value].score(later))
    return scores


def _split(blocks: Blocks, wide: Array) -> Blocks:
    """Cut every block of more than one score into smaller ones, singles if few are left."""
    counts = blocks.counts()
    singles = int(counts[wide].sum()) <= EXPAND
    parts = np.where(wide, counts if singles else np.minimum(counts, 64), 1)
    chosen = np.repeat(np.arange(counts.size), parts)
    number = np.arange(chosen.size) - np.repeat(np.cumsum(parts) - parts, parts)
    size = counts[chosen]
    begin = number * size // parts[chosen]
    end = (number + 1) * size // parts[chosen]
    new = blocks.take(chosen)
    return Blocks(new.tensor, new.pieces, new.first - begin, new.first - end + 1)


def _bracket(groups: Sequence[Groups], zeros: int, tolerance: float) -> tuple[float, float]:
    """Bound the highest score that falls away."""
    counts = np.concatenate([group.counts for group in groups])
    bounds = []
    for edges in ([group.low for group in groups], [group.high for group in groups]):
        scores = np.concatenate(edges)
        order = np.argsort(scores, kind="stable")
        place = int(np.searchsorted(np.cumsum(counts[order]), zeros))
        bounds.append(float(scores[order[place]]))
    return bounds[0] * (1 - tolerance), bounds[1] * (1 + tolerance)
