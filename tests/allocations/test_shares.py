"""Shares are scaled exactly, and rounded so that the sum is right."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from onnxprune.allocations.shares import fill, round_to_total

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
