"""Totals of every registered allocation: all that can be met are met, also within limits."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxprune.allocations.candidate import Candidate
from onnxprune.errors import TargetError
from onnxprune.planning import make_plan
from onnxprune.recipe import make_recipe
from onnxprune.registry import entries, find
from tests.laws.candidates import drawn, statistics
from tests.tensors_made import Array, Tensors, normal, ordinary

NAMES = [entry.name for entry in entries("allocation")]
NESTED = ("global", "lamp")
GRID = (0.0, 1e-4, 0.1, 0.25, 1 / 3, 0.5, 0.7, 0.75)
SPARSE = (0.9, 0.95, 0.99)


def divided(name: str, candidates: list[Candidate], zeros: int) -> list[int]:
    entry = find(name, "allocation")
    needs: dict[str, Any] = {}
    if "ratios" in entry.needs:
        size = {one.weight.path: one.weight.size for one in candidates}
        needs["ratios"] = {
            path: Fraction(1, 2 + number % 3) for number, path in enumerate(size)
        }
    needs |= {
        name: drawn(name, [one.weight for one in candidates], 0) for name in entry.measured
    }
    return list(entry.function(candidates, zeros, **needs))


SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensors, list[int], int]:
    """Draw tensors, the most that each may give, and a total that they can give."""
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=6))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    kind = draw(st.sampled_from(["normal", "coarse", "equal", "zeros"]))
    arrays: dict[str, Array] = {}
    for index, shape in enumerate(shapes):
        values = random.standard_normal(shape) * 10.0 ** random.integers(-3, 4)
        if kind == "coarse":
            values = np.round(values)
        if kind in ("equal", "zeros"):
            values = np.full(shape, float(kind == "equal"))
        arrays[f"t{index}"] = values.astype("f4")
    made = Tensors(arrays)
    limits = [draw(st.integers(0, one.size)) for one in made.weights]
    if draw(st.booleans()):
        limits = [one.size for one in made.weights]
    return made, limits, draw(st.integers(0, sum(limits)))


@pytest.mark.parametrize("name", NAMES)
def test_every_total_up_to_the_largest_is_met(name: str) -> None:
    made = Tensors(
        {"a": normal("a", 5, 4), "b": normal("b", 2, 2, 3, 1), "c": normal("c", 7, 3)}
    )
    totals = [one.size for one in made.weights]
    met = []
    for zeros in range(sum(totals) + 1):
        try:
            counts = divided(name, made.candidates(), zeros)
        except TargetError:
            continue
        assert sum(counts) == zeros
        met.append(zeros)
    assert met == list(range(len(met)))
    assert len(met) > sum(totals) // 2
    assert name in ("uniform_plus", "min_threshold") or met[-1] == sum(totals)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_question_has_the_same_answer(name: str) -> None:
    made = ordinary()
    answers = {tuple(divided(name, made.candidates(), 1500)) for _ in range(3)}
    assert len(answers) == 1


def plan_masks(made: Tensors, name: str, sparsity: float) -> dict[str, Array]:
    recipe = make_recipe({"sparsity": sparsity, "method": "magnitude", "allocation": name})
    ratios = {one.path: Fraction(1, 2) for one in made.weights}
    given = statistics(find(name, "allocation"), made.weights)
    plan = make_plan(recipe, made.weights, made.values, ratios, given)
    return made.pruned(plan)


@pytest.mark.parametrize("sparsity", GRID + SPARSE)
@pytest.mark.parametrize("name", NAMES)
def test_masks_have_exactly_the_zeros_asked_for(name: str, sparsity: float) -> None:
    made = ordinary()
    total = sum(one.size for one in made.weights)
    try:
        masks = plan_masks(made, name, sparsity)
    except TargetError:
        assert name == "uniform_plus"
        assert sparsity >= 0.95
        return
    assert sum(int(gone.sum()) for gone in masks.values()) == round(sparsity * total)
    for path, gone in masks.items():
        magnitude = np.abs(made.arrays[path])
        if gone.any() and not gone.all():
            assert magnitude[gone].max() <= magnitude[~gone].min()


@pytest.mark.parametrize("name", NESTED)
@settings(max_examples=30, deadline=None)
@given(problem=problems(), more=st.integers(0, 300))
def test_a_sparser_mask_contains_the_denser(
    name: str, problem: tuple[Tensors, list[int], int], more: int
) -> None:
    made, limits, zeros = problem
    larger = min(zeros + more, sum(limits))
    few = divided(name, made.candidates(limits), zeros)
    many = divided(name, made.candidates(limits), larger)
    assert all(one <= other for one, other in zip(few, many, strict=True))


@settings(max_examples=40, deadline=None)
@given(problem=problems())
def test_lamp_keeps_a_weight_in_every_tensor_as_long_as_it_can(
    problem: tuple[Tensors, list[int], int],
) -> None:
    made, _, zeros = problem
    sizes = [one.size for one in made.weights]
    zeros = min(zeros, sum(sizes) - len(sizes))
    if all(values.any() for values in made.arrays.values()):
        counts = divided("lamp", made.candidates(), zeros)
        assert all(count < size for count, size in zip(counts, sizes, strict=True))


def test_uniform_gives_every_tensor_its_share() -> None:
    made = ordinary()
    for zeros in (1, 100, 1796, 3000):
        counts = divided("uniform", made.candidates(), zeros)
        for one, count in zip(made.weights, counts, strict=True):
            assert abs(count - zeros * one.size / 3592) < 1
