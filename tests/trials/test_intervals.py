"""Intervals beside published figures, and how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.outcomes import Accuracy
from onnxprune.trials.intervals import drop_interval, share_interval


def accuracy(lost: int, won: int, total: int) -> Accuracy:
    return Accuracy(total=total, dense=lost, pruned=won, lost=lost, won=won)


def test_a_drop_has_the_interval_that_a_hand_computes() -> None:
    # 8.5 lost and 4.5 won of 102: (8.5 - 4.5) / 102 = 0.0392157, and
    # 1.959964 * sqrt((13 / 102 - 0.0392157^2) / 102) = 0.0688626.
    low, high = drop_interval(accuracy(lost=8, won=4, total=100))
    assert low == pytest.approx(0.0392157 - 0.0688626, abs=1e-6)
    assert high == pytest.approx(0.0392157 + 0.0688626, abs=1e-6)


def test_a_share_has_the_interval_of_a_published_example() -> None:
    # Newcombe (1998), table I: 81 of 263 and 15 of 148 by the score method.
    assert share_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert share_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert share_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert share_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_the_ends_of_a_share_are_those_of_the_scale() -> None:
    assert share_interval(0, 7)[0] == 0
    assert share_interval(7, 7)[1] == 1
    assert share_interval(0, 0) == (0, 1)


def test_the_ends_of_a_drop_are_those_of_the_scale() -> None:
    assert drop_interval(accuracy(lost=2, won=0, total=2))[1] == 1
    assert drop_interval(accuracy(lost=0, won=2, total=2))[0] == -1


@pytest.mark.parametrize("size", [50, 400])
@pytest.mark.parametrize(("lost", "won"), [(0.02, 0.02), (0.1, 0.02), (0.3, 0.25), (0.5, 0)])
def test_the_interval_of_a_drop_holds_the_truth_as_often_as_it_says(
    size: int, lost: float, won: float
) -> None:
    drawn = np.random.default_rng([size, 7]).multinomial(
        size, [lost, won, 1 - lost - won], size=4000
    )
    found = [drop_interval(accuracy(int(a), int(b), size)) for a, b, _ in drawn]
    held = np.mean([low <= lost - won <= high for low, high in found])
    assert 0.93 <= held <= 1


def test_the_interval_of_a_drop_is_no_wider_than_it_has_to_be() -> None:
    drawn = np.random.default_rng(3).multinomial(400, [0.1, 0.05, 0.85], size=4000)
    found = [drop_interval(accuracy(int(a), int(b), 400)) for a, b, _ in drawn]
    assert np.mean([low <= 0.05 <= high for low, high in found]) <= 0.97


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.95])
def test_the_interval_of_a_share_holds_the_truth_as_often_as_it_says(share: float) -> None:
    drawn = np.random.default_rng(11).binomial(200, share, size=4000)
    found = [share_interval(int(successes), 200) for successes in drawn]
    assert 0.93 <= np.mean([low <= share <= high for low, high in found]) <= 0.98


@given(st.integers(1, 300), st.data())
def test_an_interval_moves_up_with_every_loss(total: int, data: st.DataObject) -> None:
    won = data.draw(st.integers(0, total - 1))
    lost = data.draw(st.integers(0, total - won - 1))
    before = drop_interval(accuracy(lost, won, total))
    after = drop_interval(accuracy(lost + 1, won, total))
    assert sum(after) > sum(before) or after[1] == 1 or before[0] == -1
    assert before[0] <= (lost - won) / (total + 2) <= before[1]


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_share_rises_with_every_success(successes: int, more: int) -> None:
    total = successes + more
    before, after = share_interval(successes, total), share_interval(successes + 1, total)
    assert after[0] > before[0]
    assert after[1] >= before[1]
    assert before[0] <= successes / total <= before[1]


def test_more_samples_and_less_confidence_make_intervals_narrower() -> None:
    def width(ends: tuple[float, float]) -> float:
        return ends[1] - ends[0]

    few, many = accuracy(5, 2, 100), accuracy(50, 20, 1000)
    assert width(drop_interval(many)) < width(drop_interval(few))
    assert width(drop_interval(few, confidence=0.8)) < width(drop_interval(few))
    assert width(share_interval(50, 1000)) < width(share_interval(5, 100))
    assert width(share_interval(5, 100, confidence=0.8)) < width(share_interval(5, 100))
