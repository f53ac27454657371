"""Ratios from the costs of single tensors: examples by hand, and laws that hold for all."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxprune.allocations.curves import Curve, Curves

SPARSITIES = (0.25, 0.5, 0.75, 1.0)
COSTS = st.integers(0, 12).map(float)
ORDERED = st.lists(st.sampled_from(SPARSITIES), unique=True, max_size=4).map(sorted)
CURVES = ORDERED.flatmap(
    lambda places: st.tuples(*(st.tuples(st.just(place), COSTS) for place in places))
)


@st.composite
def problems(draw: st.DrawFn) -> tuple[dict[str, Curve], dict[str, int]]:
    """Draw the curves and sizes of one to four tensors."""
    names = "abcd"[: draw(st.integers(1, 4))]
    curves = {name: draw(CURVES) for name in names}
    return curves, {name: draw(st.integers(1, 9)) for name in names}


def ratios(curves: dict[str, Curve], zeros: int, **sizes: int) -> dict[str, Fraction]:
    return Curves(curves).ratios(sizes, zeros)


def test_cost_rises_evenly_between_what_was_measured() -> None:
    curves: dict[str, Curve] = {"a": [(0.5, 1.0)], "b": [(0.5, 2.0)]}
    # Where both cost 1, `a` has reached 0.5 and `b` half as much.
    assert ratios(curves, 6, a=8, b=8) == {"a": Fraction(1, 2), "b": Fraction(1, 4)}
    # Half as many zeros cost half as much.
    assert ratios(curves, 3, a=8, b=8) == {"a": Fraction(1, 4), "b": Fraction(1, 8)}


def test_sparsities_that_cost_nothing_are_taken_first() -> None:
    curves: dict[str, Curve] = {"a": [(0.5, 0.0), (1.0, 4.0)], "b": [(1.0, 4.0)]}
    assert ratios(curves, 4, a=8, b=8) == {"a": Fraction(1, 2), "b": Fraction(0)}
    assert ratios(curves, 2, a=8, b=8) == {"a": Fraction(1, 4), "b": Fraction(0)}
    assert ratios(curves, 10, a=8, b=8) == {"a": Fraction(3, 4), "b": Fraction(1, 2)}


def test_what_costs_no_more_is_taken_before_the_others_cost_more() -> None:
    curves: dict[str, Curve] = {"a": [(0.25, 1.0), (0.5, 1.0)], "b": [(0.5, 2.0)]}
    assert ratios(curves, 4, a=8, b=8) == {"a": Fraction(1, 4), "b": Fraction(1, 4)}
    assert ratios(curves, 5, a=8, b=8) == {"a": Fraction(3, 8), "b": Fraction(1, 4)}
    assert ratios(curves, 6, a=8, b=8) == {"a": Fraction(1, 2), "b": Fraction(1, 4)}
    assert ratios(curves, 8, a=8, b=8) == {"a": Fraction(1, 2), "b": Fraction(1, 2)}


def test_a_cost_that_falls_counts_as_one_that_stays() -> None:
    fallen: dict[str, Curve] = {"a": [(0.5, 4.0), (0.75, 1.0)], "b": [(0.5, 8.0)]}
    level: dict[str, Curve] = {"a": [(0.5, 4.0), (0.75, 4.0)], "b": [(0.5, 8.0)]}
    for zeros in range(17):
        assert ratios(fallen, zeros, a=8, b=8) == ratios(level, zeros, a=8, b=8)


def test_a_cost_below_zero_counts_as_none() -> None:
    gained: dict[str, Curve] = {"a": [(0.5, -1.0)], "b": [(0.5, 1.0)]}
    free: dict[str, Curve] = {"a": [(0.5, 0.0)], "b": [(0.5, 1.0)]}
    for zeros in range(17):
        assert ratios(gained, zeros, a=8, b=8) == ratios(free, zeros, a=8, b=8)


def test_what_was_not_measured_is_taken_last_and_in_proportion() -> None:
    curves: dict[str, Curve] = {"a": [(0.5, 1.0)], "b": []}
    assert ratios(curves, 4, a=8, b=8) == {"a": Fraction(1, 2), "b": Fraction(0)}
    # Of what is left, 4 of `a` and 8 of `b`, a half goes.
    assert ratios(curves, 10, a=8, b=8) == {"a": Fraction(3, 4), "b": Fraction(1, 2)}
    assert ratios(curves, 16, a=8, b=8) == {"a": Fraction(1), "b": Fraction(1)}


def test_equal_curves_give_equal_ratios_whatever_the_sizes() -> None:
    curve: Curve = [(0.25, 1.0), (0.75, 5.0)]
    found = ratios({"a": curve, "b": curve}, 5, a=2, b=8)
    assert found == {"a": Fraction(1, 2), "b": Fraction(1, 2)}


def test_curves_know_which_tensors_they_have() -> None:
    curves = Curves({"a": []})
    assert "a" in curves
    assert "b" not in curves
    with pytest.raises(KeyError):
        curves.ratios({"b": 1}, 1)


@given(problems())
@settings(max_examples=60)
def test_the_total_is_exact_and_every_ratio_a_share(
    problem: tuple[dict[str, Curve], dict[str, int]],
) -> None:
    curves, sizes = problem
    for zeros in range(sum(sizes.values()) + 1):
        found = Curves(curves).ratios(sizes, zeros)
        assert found.keys() == sizes.keys()
        assert all(0 <= ratio <= 1 for ratio in found.values())
        assert sum((found[name] * size for name, size in sizes.items()), Fraction(0)) == zeros


@given(problems())
@settings(max_examples=60)
def test_no_tensor_gets_denser_when_more_goes(
    problem: tuple[dict[str, Curve], dict[str, int]],
) -> None:
    curves, sizes = problem
    every = [Curves(curves).ratios(sizes, zeros) for zeros in range(sum(sizes.values()) + 1)]
    for fewer, more in pairwise(every):
        assert all(fewer[name] <= more[name] for name in sizes)


@given(problems(), st.sampled_from([0.125, 3.0, 1024.0]), st.integers(0, 36))
@settings(max_examples=60)
def test_the_scale_of_costs_does_not_matter(
    problem: tuple[dict[str, Curve], dict[str, int]], factor: float, zeros: int
) -> None:
    curves, sizes = problem
    zeros = min(zeros, sum(sizes.values()))
    scaled: dict[str, Curve] = {
        name: [(sparsity, cost * factor) for sparsity, cost in curve]
        for name, curve in curves.items()
    }
    assert Curves(scaled).ratios(sizes, zeros) == Curves(curves).ratios(sizes, zeros)


@given(problems(), st.integers(0, 36))
@settings(max_examples=60)
def test_a_tensor_that_costs_more_throughout_is_pruned_no_more(
    problem: tuple[dict[str, Curve], dict[str, int]], zeros: int
) -> None:
    curves, sizes = problem
    dearer: Curve = [(sparsity, cost * 2 + 1) for sparsity, cost in curves["a"]]
    both = curves | {"z": dearer}
    sizes = sizes | {"z": sizes["a"]}
    found = Curves(both).ratios(sizes, min(zeros, sum(sizes.values())))
    assert found["z"] <= found["a"]
