"""Counts of weights become counts of units: the total within one, caps and multiples held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.patterns.rounding import Stock, whole_units


def test_the_largest_remainder_is_rounded_up() -> None:
    stocks = [Stock(10, 4, 9), Stock(10, 4, 9), Stock(10, 4, 9)]
    assert whole_units(stocks, [5, 7, 8], 20) == [1, 2, 2]
    # Of equal remainders the first.
    assert whole_units(stocks, [6, 6, 8], 20) == [2, 1, 2]


def test_the_last_step_is_taken_where_that_is_closer() -> None:
    assert whole_units([Stock(10, 4, 9)], [7], 7) == [2]
    assert whole_units([Stock(10, 4, 9)], [5], 5) == [1]
    assert whole_units([Stock(10, 4, 9)], [6], 6) == [1]


def test_what_is_kept_is_a_multiple_or_all() -> None:
    stock = Stock(10, 1, 9, multiple=4)
    assert stock.most == 6
    assert [whole_units([stock], [n], n)[0] for n in range(7)] == [0, 0, 2, 2, 2, 6, 6]
    assert Stock(3, 1, 2, multiple=4).most == 0
    assert Stock(8, 1, 7, multiple=4).most == 4


def test_what_fell_does_not_come_back() -> None:
    stocks = [Stock(10, 4, 9, fallen=3), Stock(10, 4, 9)]
    assert whole_units(stocks, [8, 8], 16) == [3, 2]


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Stock], list[int]]:
    stocks = []
    for _ in range(draw(st.integers(1, 5))):
        count = draw(st.integers(1, 20))
        multiple = draw(st.sampled_from([1, 1, 2, 3, 8]))
        limit = draw(st.integers(0, count))
        stocks.append(Stock(count, draw(st.integers(1, 30)), limit, 0, multiple))
    return stocks, [draw(st.integers(0, stock.most * stock.size)) for stock in stocks]


@given(problems())
def test_the_total_is_missed_by_less_than_one_step(
    problem: tuple[list[Stock], list[int]],
) -> None:
    stocks, weights = problem
    units = whole_units(stocks, weights, sum(weights))
    for stock, number in zip(stocks, units, strict=True):
        assert 0 <= number <= stock.limit
        assert number == 0 or (stock.count - number) % stock.multiple == 0
    made = sum(stock.size * number for stock, number in zip(stocks, units, strict=True))
    largest = max(stock.size * stock.multiple for stock in stocks)
    assert abs(made - sum(weights)) < largest


@pytest.mark.parametrize("number", range(13))
def test_a_number_that_may_fall_is_followed_by_the_next(number: int) -> None:
    stock = Stock(13, 1, 12, multiple=4)
    allowed = [0, 1, 5, 9]
    assert stock.at_most(number) == max(each for each in allowed if each <= number)
    assert stock.after(stock.at_most(number)) in (*allowed, 13)
