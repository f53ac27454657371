"""Shares are scaled exactly, and rounded so that the sum is right."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from onnxprune.allocations.shares import clip_to_total, fill, round_to_total

ROWS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(0, 30)),
    min_size=1,
    max_size=6,
)


@given(rows=ROWS, part=st.fractions(0, 1))
def test_one_factor_scales_all_shares_that_no_limit_holds(
    rows: list[tuple[int, int, int]], part: Fraction
) -> None:
    shares = [share + 1 for share, _, _ in rows]
    floors = [floor for _, floor, _ in rows]
    ceilings = [floor + extra for _, floor, extra in rows]
    total = sum(floors) + int(part * (sum(ceilings) - sum(floors)))
    filled = fill(shares, floors, ceilings, total)
    assert sum(filled) == total
    factors = {
        value / share
        for value, share, floor, ceiling in zip(filled, shares, floors, ceilings, strict=True)
        if floor < value < ceiling
    }
    assert len(factors) <= 1
    for value, share, floor, ceiling in zip(filled, shares, floors, ceilings, strict=True):
        assert floor <= value <= ceiling
        for factor in factors:
            assert value == min(max(factor * share, floor), ceiling)


def test_the_largest_remainders_are_rounded_up_and_ties_go_first() -> None:
    half = Fraction(1, 2)
    assert round_to_total([1 + half, 1 + half, 1 + half / 2], [9, 9, 9], 4) == [2, 1, 1]
    assert round_to_total([half / 2, half, half / 2], [9, 9, 9], 1) == [0, 1, 0]


def test_rounding_stops_at_a_limit_and_the_next_takes_over() -> None:
    assert round_to_total([Fraction(3, 4), Fraction(1, 4)], [0, 9], 1) == [0, 1]


@given(rows=ROWS, part=st.fractions(0, 1))
def test_targets_move_together_until_a_limit_holds_them(
    rows: list[tuple[int, int, int]], part: Fraction
) -> None:
    sizes = [size + 1 for size, _, _ in rows]
    ceilings = [min(ceiling, size) for size, (_, _, ceiling) in zip(sizes, rows, strict=True)]
    total = int(part * sum(ceilings))
    wanted = [Fraction(shift - 10, 3) for _, shift, _ in rows]
    # Targets are the total together; some lie below zero or above what they may be.
    spread = (total - sum(wanted)) / sum(sizes)
    targets = [want + spread * size for want, size in zip(wanted, sizes, strict=True)]
    clipped = clip_to_total(targets, sizes, ceilings, total)
    assert sum(clipped) == total
    shifts = {
        (value - target) / size
        for value, target, size, ceiling in zip(clipped, targets, sizes, ceilings, strict=True)
        if 0 < value < ceiling
    }
    assert len(shifts) <= 1
    for value, target, size, ceiling in zip(clipped, targets, sizes, ceilings, strict=True):
        assert 0 <= value <= ceiling
        for shift in shifts:
            assert value == min(max(target + shift * size, 0), ceiling)


@given(
    targets=st.lists(st.fractions(0, 20, max_denominator=7), min_size=1, max_size=6),
    room=st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_rounded_targets_have_their_total_and_their_limits(
    targets: list[Fraction], room: list[int]
) -> None:
    limits = [math.ceil(target) + extra for target, extra in zip(targets, room, strict=False)]
    total = math.ceil(sum(targets))
    counts = round_to_total(targets, limits, total)
    assert sum(counts) == total
    for count, target, limit in zip(counts, targets, limits, strict=True):
        assert math.floor(target) <= count <= min(limit, math.floor(target) + 1)
