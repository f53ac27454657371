"""Cuts are exact: the asked number falls, never a larger score before a smaller one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxprune import selection
from onnxprune.binning import Signed, Window
from onnxprune.errors import InputError
from onnxprune.selection import Ranking, Sieve
from onnxprune.types import Array

SINGLE = st.floats(0, float(np.finfo(np.float32).max), width=32)
DOUBLE = st.floats(allow_nan=False, allow_infinity=False)
TIED = st.sampled_from([0.0, 1.0, 2.0, 1e-42])


def ranking(scores: Array) -> Ranking:
    return Ranking("w", scores.shape, lambda start, stop: scores[start:stop])


def fallen(scores: Array, zeros: int) -> Array:
    ranked = ranking(scores)
    sieve = Sieve(ranked.cut(zeros))
    parts = [
        sieve.pruned(scores[start : start + selection.CHUNK])
        for start in range(0, scores.size, selection.CHUNK)
    ]
    return np.concatenate(parts)


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    dtype, elements = draw(
        st.sampled_from(
            [
                (np.float32, SINGLE),
                (np.float64, DOUBLE),
                (np.float32, TIED),
                (np.float64, TIED),
            ]
        )
    )
    size = draw(st.integers(1, 40))
    drawn: Array = draw(hnp.arrays(dtype, size, elements=elements))
    return drawn


@given(scores=arrays(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_the_cut_is_a_stable_sort_for_every_count(scores: Array, data: st.DataObject) -> None:
    zeros = data.draw(st.integers(0, scores.size))
    order = np.argsort(scores.astype(np.float64), kind="stable")
    wanted = np.zeros(scores.size, bool)
    wanted[order[:zeros]] = True
    np.testing.assert_array_equal(fallen(scores, zeros), wanted)


def test_scores_far_below_the_largest_are_still_told_apart() -> None:
    # Both small ones lie below the window of fine ranges.
    scores = np.array([1.0, 1e-30, 2e-30, 0.5], np.float32)
    assert fallen(scores, 1).tolist() == [False, True, False, False]


def test_scores_far_above_the_first_block_are_still_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selection, "CHUNK", 2)
    scores = np.array([1e-20, 2e-20, 1e20, 3e20, 2e20], np.float32)
    assert fallen(scores, 4).tolist() == [True, True, True, False, True]


def test_a_negative_score_in_a_later_block_is_ranked_below_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selection, "CHUNK", 2)
    scores = np.array([1.0, 2.0, 3.0, -4.0], np.float32)
    assert fallen(scores, 1).tolist() == [False, False, False, True]


def test_negative_zero_is_as_small_as_zero() -> None:
    scores = np.array([0.0, -0.0, 1.0])
    assert fallen(scores, 1).tolist() == [True, False, False]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_score_that_is_no_number_is_refused_with_its_place(
    wrong: float, dtype: type[np.floating]
) -> None:
    scores = np.ones((2, 3), dtype)
    scores[1, 2] = wrong
    flat = scores.reshape(-1)
    with pytest.raises(InputError, match=r"'w': (NaN|Inf) at \[1,2\]"):
        Ranking("w", (2, 3), lambda start, stop: flat[start:stop]).bins()


@given(scores=arrays())
@settings(max_examples=200, deadline=None)
def test_ranges_hold_the_scores_that_are_counted_in_them(scores: Array) -> None:
    bins = ranking(scores).bins()
    low, high = bins.edges()
    assert bins.counts.sum() == scores.size
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
    keys = bins.binning.keys(scores)
    for key, smallest, largest, count in zip(bins.keys, low, high, bins.counts, strict=True):
        inside = scores[keys == key].astype(np.float64)
        assert inside.size == count
        assert smallest <= inside.min() <= inside.max() <= largest


@given(scores=arrays())
@settings(max_examples=100, deadline=None)
def test_the_sum_of_squares_above_is_that_of_the_larger_scores(scores: Array) -> None:
    scores = np.minimum(np.abs(scores), 1e6)
    ranked = ranking(scores)
    keys = ranked.bins().keys
    middle = int(keys[keys.size // 2])
    found = ranked.values(middle, middle, exponent=0)
    larger = scores[ranked.bins().binning.keys(scores) > middle].astype(np.float64)
    assert found.above == pytest.approx((larger**2).sum(), rel=1e-12)
    assert found.counts.sum() == (ranked.bins().binning.keys(scores) == middle).sum()


@pytest.mark.parametrize("binning", [Window(np.array([1.0], np.float32)), Signed()])
def test_larger_scores_never_have_smaller_keys(binning: Window | Signed) -> None:
    scores = np.sort(np.abs(np.random.default_rng(0).standard_normal(1000)).astype("f4"))
    assert (np.diff(binning.keys(scores)) >= 0).all()


@given(scores=arrays(), chunk=st.integers(1, 9), data=st.data())
@settings(max_examples=200, deadline=None)
def test_where_blocks_begin_and_end_changes_nothing(
    scores: Array, chunk: int, data: st.DataObject
) -> None:
    zeros = data.draw(st.integers(0, scores.size))
    whole = ranking(scores)
    wanted = fallen(scores, zeros)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "CHUNK", chunk)
        cut = ranking(scores)
        assert cut.cut(zeros) == whole.cut(zeros)
        np.testing.assert_array_equal(fallen(scores, zeros), wanted)
        key = int(cut.bins().keys[-1])
        one, other = cut.values(0, key), whole.values(0, int(whole.bins().keys[-1]))
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.counts, other.counts)


@given(
    borders=st.lists(st.integers(0, 40), max_size=6),
    ties=st.integers(0, 40),
    scores=hnp.arrays(np.float32, 40, elements=TIED),
)
@settings(max_examples=100, deadline=None)
def test_of_equal_scores_the_first_fall_in_whatever_pieces_they_come(
    borders: list[int], ties: int, scores: Array
) -> None:
    sieve = Sieve(selection.Cut(1.0, ties))
    edges = [0, *sorted(borders), 40]
    parts = [sieve.pruned(scores[start:stop]) for start, stop in pairwise(edges)]
    gone = np.concatenate(parts)
    equal = np.flatnonzero(scores == 1)
    assert gone[equal[:ties]].all()
    assert not gone[equal[ties:]].any()
    assert gone[scores < 1].all()
    assert not gone[scores > 1].any()
