"""Divides a total among tensors in given proportions, within limits, in exact arithmetic."""

from collections.abc import Sequence
from fractions import Fraction

Number = int | Fraction


def fill(
    shares: Sequence[Number], floors: Sequence[int], ceilings: Sequence[int], total: int
) -> list[Fraction]:
    """Scale the shares by one factor so that they sum to a total, each kept within limits.

    Args:
        shares: what each would get in proportion, not negative.
        floors: the least each may get.
        ceilings: the most each may get.
        total: what all get together; it lies between the sums of floors and ceilings.
    """
    steps = sorted(
        {
            Fraction(bound) / share
            for share, floor, ceiling in zip(shares, floors, ceilings, strict=True)
            for bound in (floor, ceiling)
            if share > 0
        }
    )
    low = Fraction(0)
    for high in steps:
        if _clipped_sum(shares, floors, ceilings, high) >= total:
            return _between(shares, floors, ceilings, total, low, high)
        low = high
    return _clipped(shares, floors, ceilings, low)


def clip_to_total(
    targets: Sequence[Fraction], sizes: Sequence[int], ceilings: Sequence[int], total: int
) -> list[Fraction]:
    """Keep targets between zero and their ceilings; all move by the same share of their size.

    Args:
        targets: what each would get; together they are the total.
        sizes: of each.
        ceilings: the most each may get.
        total: what all get together, at most the sum of the ceilings.
    """

    def at(shift: Fraction) -> list[Fraction]:
        return [
            min(max(target + shift * size, Fraction(0)), Fraction(ceiling))
            for target, size, ceiling in zip(targets, sizes, ceilings, strict=True)
        ]

    bounds = sorted(
        (bound - target) / size
        for target, size, ceiling in zip(targets, sizes, ceilings, strict=True)
        for bound in (0, ceiling)
        if size
    )
    low = bounds[0] if bounds else Fraction(0)
    for high in bounds:
        before, after = sum(at(low)), sum(at(high))
        if after >= total:
            part = Fraction(total - before, after - before) if after > before else 0
            return at(low + (high - low) * part)
        low = high
    return at(low)


def round_to_total(
    targets: Sequence[Fraction], limits: Sequence[int], total: int
) -> list[int]:
    """Round targets to integers with a given sum: the largest remainders are rounded up.

    Of equal remainders the earlier is rounded up first; none goes over its limit.
    """
    counts = [int(target) for target in targets]
    missing = total - sum(counts)
    order = sorted(range(len(targets)), key=lambda i: (counts[i] - targets[i], i))
    while missing > 0:
        before = missing
        for index in order:
            if missing and counts[index] < limits[index]:
                counts[index] += 1
                missing -= 1
        if missing == before:
            break
    return counts


def _between(  # noqa: PLR0913 - the bounds of one linear piece
    shares: Sequence[Number],
    floors: Sequence[int],
    ceilings: Sequence[int],
    total: int,
    low: Fraction,
    high: Fraction,
) -> list[Fraction]:
    """Find the factor inside a piece in which the sum grows linearly."""
    at_low = _clipped_sum(shares, floors, ceilings, low)
    at_high = _clipped_sum(shares, floors, ceilings, high)
    if at_high == at_low:
        return _clipped(shares, floors, ceilings, low)
    factor = low + (high - low) * (total - at_low) / (at_high - at_low)
    return _clipped(shares, floors, ceilings, factor)


def _clipped(
    shares: Sequence[Number], floors: Sequence[int], ceilings: Sequence[int], factor: Fraction
) -> list[Fraction]:
    return [
        min(max(factor * share, Fraction(floor)), Fraction(ceiling))
        for share, floor, ceiling in zip(shares, floors, ceilings, strict=True)
    ]


def _clipped_sum(
    shares: Sequence[Number], floors: Sequence[int], ceilings: Sequence[int], factor: Fraction
) -> Fraction:
    return sum(_clipped(shares, floors, ceilings, factor), Fraction(0))
