"""The LAMP reference against its formula and its laws."""

from fractions import Fraction

import numpy as np
import pytest

from tests.reference import lamp, lamp_scores, zero_counts
from tests.reference_layers import as_text, make_layer, some_layers


def test_lamp_masks_worked_out_by_hand() -> None:
    # Scores 1/14, 4/13, 1 and 1/4, 1/3, 1/2, 1.
    layers = [make_layer("a", [3, 1, 2]), make_layer("b", [1, 1, 1, 1])]
    expected = {1: "#.# ####", 2: "#.# .###", 3: "#.. .###", 5: "#.. ...#", 6: "... ...#"}
    for zeros, masks in expected.items():
        assert as_text(lamp(layers, zeros)) == masks.split()


def test_lamp_equals_its_formula_in_fractions() -> None:
    layers = some_layers(2)
    ranked = []
    for i, layer in enumerate(layers):
        squares = sorted(Fraction(w) ** 2 for w in layer.magnitude.ravel().tolist())
        for rank, square in enumerate(squares):
            ranked.append((square / sum(squares[rank:]), i, rank))
    ranked.sort()
    for zeros in range(0, 59, 3):
        counts = [sum(i == j for _, j, _ in ranked[:zeros]) for i in range(4)]
        assert zero_counts(lamp(layers, zeros)) == counts


@pytest.mark.parametrize("round_sums", [False, True])
def test_the_top_lamp_score_is_one_and_all_others_at_most_a_half(round_sums: bool) -> None:
    for layer in some_layers(3):
        scores = lamp_scores(layer.magnitude, round_sums=round_sums)
        assert scores[-1] == 1.0
        assert scores.min() >= 0.0
        assert scores[:-1].max() <= 0.5


def test_lamp_scores_are_the_same_whatever_the_scale_of_the_layer() -> None:
    tenths = np.full(50, np.float32(0.1), dtype=np.float64)
    assert (lamp_scores(tenths) == lamp_scores(3 * tenths)).all()
    assert np.allclose(lamp_scores(tenths), 1 / np.arange(50, 0, -1), rtol=1e-15)
    layers = [make_layer("a", tenths), make_layer("b", 3 * tenths)]
    assert zero_counts(lamp(layers, 51)) == [26, 25]


def test_rounding_the_lamp_sums_moves_a_score_by_two_units_at_most() -> None:
    magnitude = np.random.default_rng(0).normal(size=500) ** 2
    exact, rounded = lamp_scores(magnitude), lamp_scores(magnitude, round_sums=True)
    np.testing.assert_array_almost_equal_nulp(exact, rounded, nulp=2)


def test_lamp_scores_zero_over_zero_as_zero() -> None:
    assert lamp_scores(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    layers = [make_layer("a", [1, 2]), make_layer("b", [0, 0])]
    assert as_text(lamp(layers, 2)) == ["##", ".."]


def test_lamp_keeps_one_weight_of_each_layer_while_there_is_one_for_each() -> None:
    assert zero_counts(lamp(some_layers(4), 54)) == [7, 19, 5, 23]
