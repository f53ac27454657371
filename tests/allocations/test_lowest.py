"""LAMP and global ranking against exact arithmetic, where scores nearly or really tie."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxprune.allocations import lowest as engine
from onnxprune.registry import find
from onnxprune.types import Array
from tests.laws.candidates import call, candidates

VALUES = st.one_of(
    st.sampled_from([0.0, 0.1, 0.3, 0.25, 1.0, 1 + 2.0**-23]), st.floats(0, 1, width=32)
)
TENSORS = st.lists(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=VALUES),
    min_size=1,
    max_size=4,
)


def exact_lamp(tensors: list[Array], zeros: int, limits: list[int] | None = None) -> list[int]:
    """Rank all LAMP scores as fractions: no rounding anywhere."""
    limits = limits or [values.size for values in tensors]
    ranked = []
    for number, values in enumerate(tensors):
        squares = [Fraction(float(v)) ** 2 for v in sorted(np.abs(values.reshape(-1)))]
        for place in range(len(squares)):
            below = sum(squares[place:], Fraction(0))
            score = squares[place] / below if below else Fraction(0)
            ranked.append((score, number, place))
    counts = [0] * len(tensors)
    free = [each for each in sorted(ranked) if each[2] < limits[each[1]]]
    for _, number, _ in free[:zeros]:
        counts[number] += 1
    return counts


@given(tensors=TENSORS, data=st.data())
@settings(max_examples=300, deadline=None)
def test_lamp_counts_are_those_of_exact_fractions(
    tensors: list[Array], data: st.DataObject
) -> None:
    zeros = data.draw(st.integers(0, sum(values.size for values in tensors)))
    assert call(find("lamp"), candidates(tensors), zeros) == exact_lamp(tensors, zeros)


@given(tensors=TENSORS, data=st.data())
@settings(max_examples=100, deadline=None)
def test_looking_at_few_scores_at_once_changes_nothing(
    tensors: list[Array], data: st.DataObject
) -> None:
    zeros = data.draw(st.integers(0, sum(values.size for values in tensors)))
    wanted = call(find("lamp"), candidates(tensors), zeros)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "EXPAND", 2)
        patch.setattr(engine, "JOIN", 2)
        assert call(find("lamp"), candidates(tensors), zeros) == wanted


def test_copies_that_nearly_tie_are_told_apart_however_few_are_looked_at_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = 9.348405e-22
    tensors = [
        np.array([[0.0]], np.float32),
        np.array([[0.1, 0.1, 0.1], [0.25, tiny, tiny]], np.float32),
        np.array([[0.1, 0.1, 0.25], [0.1, tiny, tiny]], np.float32),
    ]
    monkeypatch.setattr(engine, "EXPAND", 2)
    monkeypatch.setattr(engine, "JOIN", 2)
    assert call(find("lamp"), candidates(tensors), 3) == exact_lamp(tensors, 3) == [1, 1, 1]


def test_tails_that_differ_by_less_than_a_double_can_hold_are_told_apart() -> None:
    tensors = [
        np.array([[1e-25, 0.1]], np.float32),
        np.array([[1e-25, 1e-24, 0.1]], np.float32),
    ]
    assert call(find("lamp"), candidates(tensors), 1) == [0, 1]


def test_copies_of_a_tensor_in_another_order_give_the_same_number() -> None:
    values = np.random.default_rng(1).standard_normal((40, 50)).astype(np.float32)
    shuffled = np.random.default_rng(2).permutation(values.reshape(-1)).reshape(50, 40)
    for zeros in (1000, 2001, 3333):
        first, second = call(find("lamp"), candidates([values, shuffled]), zeros)
        assert first + second == zeros
        assert first - second in (0, 1)


def test_a_constant_tensor_of_many_copies_is_cut_exactly() -> None:
    tensors = [np.full((300, 1000), 0.1, np.float32), np.full((300, 1000), 7.0, np.float32)]
    assert call(find("lamp"), candidates(tensors), 123_457) == [61_729, 61_728]


def test_squares_that_overflow_or_vanish_in_single_precision_are_ranked() -> None:
    largest = float(np.finfo(np.float32).max)
    tensors = [
        np.array([[largest, largest / 2, 1.0]], np.float32),
        np.array([[1e-45, 3e-45, 1e-40]], np.float32),
    ]
    for zeros in range(7):
        assert call(find("lamp"), candidates(tensors), zeros) == exact_lamp(tensors, zeros)


def test_squares_that_overflow_in_double_precision_are_ranked() -> None:
    tensors = [np.array([[1e300, 2e300, 1e-300]]), np.array([[1.0, 2.0, 3.0]])]
    for zeros in range(7):
        assert call(find("lamp"), candidates(tensors), zeros) == exact_lamp(tensors, zeros)


def test_limits_protect_the_largest_of_a_tensor() -> None:
    tensors = [np.array([[1.0, 2.0, 3.0, 4.0]], np.float32), np.array([[10.0, 11.0]], "f4")]
    assert call(find("global"), candidates(tensors, [1, 2]), 3) == [1, 2]


@given(tensors=TENSORS, data=st.data())
@settings(max_examples=100, deadline=None)
def test_global_counts_are_those_of_a_stable_sort(
    tensors: list[Array], data: st.DataObject
) -> None:
    zeros = data.draw(st.integers(0, sum(values.size for values in tensors)))
    owner = np.repeat(np.arange(len(tensors)), [values.size for values in tensors])
    scores = np.concatenate([np.abs(values.reshape(-1)) for values in tensors])
    taken = owner[np.argsort(scores, kind="stable")[:zeros]]
    wanted = np.bincount(taken, minlength=len(tensors)).tolist()
    assert call(find("global"), candidates(tensors), zeros) == wanted


@given(tensors=TENSORS, data=st.data())
@settings(max_examples=100, deadline=None)
def test_what_lies_above_a_limit_is_passed_over(
    tensors: list[Array], data: st.DataObject
) -> None:
    limits = [data.draw(st.integers(1, values.size)) for values in tensors]
    zeros = data.draw(st.integers(0, sum(limits)))
    lamp = exact_lamp(tensors, zeros, limits)
    plain = sorted(
        (float(value), number)
        for number, (values, limit) in enumerate(zip(tensors, limits, strict=True))
        for value in np.sort(np.abs(values.reshape(-1)))[:limit]
    )
    taken = [number for _, number in plain[:zeros]]
    wanted = np.bincount(taken, minlength=len(tensors)).tolist()
    for few in (1 << 18, 2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "EXPAND", few)
            patch.setattr(engine, "JOIN", few)
            assert call(find("lamp"), candidates(tensors, limits), zeros) == lamp
            assert call(find("global"), candidates(tensors, limits), zeros) == wanted
