"""Every score and every allocation in the registry gives masks that have the pattern asked for.

What is asserted is counted on plain arrays, along the axes that the tensors here have: outputs
first, input channels second, then the kernel.
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from onnxprune.errors import TargetError
from onnxprune.planning import Plan, make_plan
from onnxprune.recipe import make_recipe
from onnxprune.registry import entries, find
from onnxprune.scoring import Given, rank
from tests.laws.candidates import statistics
from tests.tensors_made import Array, Tensors, normal

METHODS = [entry.name for entry in entries("method")]
ALLOCATIONS = [entry.name for entry in entries("allocation")]
UNITS = ["block:2x4", "block:3x1", "filters"]


def made_of(seed: str = "") -> Tensors:
    return Tensors(
        {
            "a": normal(f"a{seed}", 6, 8),
            "b": normal(f"b{seed}", 12, 8, 3, 2) * 0.5,
            "c": normal(f"c{seed}", 6, 12) * 2,
            "d": normal(f"d{seed}", 12, 4, 1, 1),
        }
    )


def given_of(made: Tensors, method: str, allocation: str | None = None) -> Given:
    given = statistics(find(method, "method"), made.weights)
    more: Given = Given()
    if allocation is not None:
        more = statistics(find(allocation, "allocation"), made.weights)
    return replace(given, statistics={**given.statistics, **more.statistics}, zeros={})


def planned(made: Tensors, pattern: str, sparsity: float | None, **more: object) -> Plan:
    recipe = make_recipe({"pattern": pattern, "sparsity": sparsity} | more)
    given = given_of(made, recipe.method, recipe.allocation)
    ratios = {each.path: Fraction(1, 2 + at % 2) for at, each in enumerate(made.weights)}
    return make_plan(recipe, made.weights, made.values, ratios, given)


def units_of(values: Array, pattern: str) -> Array:
    """Cut a tensor into blocks or filters by loops; one row for each."""
    matrix = values.reshape(*values.shape[:2], -1)
    if pattern == "filters":
        return matrix.reshape(len(matrix), -1)
    rows, columns = map(int, pattern.removeprefix("block:").split("x"))
    return np.array(
        [
            matrix[top : top + rows, left : left + columns, place].reshape(-1)
            for top in range(0, matrix.shape[0], rows)
            for place in range(matrix.shape[2])
            for left in range(0, matrix.shape[1], columns)
        ]
    )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pattern", ["2:4", "1:2", "3:4", "1:4"])
def test_n_of_m_holds_in_every_group(pattern: str, name: str) -> None:
    made = made_of()
    n, m = map(int, pattern.split(":"))
    plan = planned(made, pattern, None, method=name)
    for path, gone in made.pruned(plan).items():
        groups = np.moveaxis(gone, 1, -1).reshape(-1, m)
        assert (groups.sum(1) == m - n).all(), path
        assert plan.zeros[path] == gone.sum()


@pytest.mark.parametrize(
    "name", [entry.name for entry in entries("method") if "zeros" not in entry.needs]
)
def test_n_of_m_keeps_the_best_of_every_group(name: str) -> None:
    made = made_of()
    plan = planned(made, "2:4", None, method=name)
    given = given_of(made, name)
    for weight in made.weights:
        ranking = rank(weight, made.values, find(name, "method"), {}, 0, given)
        scores = ranking.read(0, weight.size).reshape(weight.shape)
        gone = made.pruned(plan)[weight.path]
        fours = (np.moveaxis(each, 1, -1).reshape(-1, 4) for each in (scores, gone))
        for score, lost in zip(*fours, strict=True):
            assert score[lost].max() <= score[~lost].min()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pattern", UNITS)
@pytest.mark.parametrize("sparsity", [0.0, 0.123, 0.5, 0.7])
def test_units_fall_whole_and_the_total_is_within_one(
    sparsity: float, pattern: str, name: str
) -> None:
    made = made_of()
    plan = planned(made, pattern, sparsity, method=name)
    hold_units(made, plan, pattern, sparsity)


@pytest.mark.parametrize("name", ALLOCATIONS)
@pytest.mark.parametrize("pattern", UNITS)
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.75])
def test_any_allocation_divides_whole_units(sparsity: float, pattern: str, name: str) -> None:
    made = made_of("other")
    options = {"sigma": "1"} if name == "min_threshold" else {}
    try:
        plan = planned(
            made, pattern, sparsity, method="magnitude", allocation=name, options=options
        )
    except TargetError as error:
        assert name == "uniform_plus", error
        return
    hold_units(made, plan, pattern, sparsity)
    for path, gone in made.pruned(plan).items():
        means = units_of(np.abs(made.arrays[path]).astype(np.float64), pattern).mean(1)
        lost = units_of(gone, pattern).all(1)
        if lost.any() and not lost.all():
            assert means[lost].max() <= means[~lost].min() + 1e-12


def hold_units(made: Tensors, plan: Plan, pattern: str, sparsity: float) -> None:
    total = sum(weight.size for weight in plan.weights)
    largest = 0
    for path, gone in made.pruned(plan).items():
        units = units_of(gone, pattern)
        assert (units.any(1) == units.all(1)).all(), path
        assert plan.zeros[path] == gone.sum()
        assert pattern != "filters" or not units.all()
        largest = max(largest, units.shape[1])
    assert abs(sum(plan.zeros.values()) - sparsity * total) < largest


@pytest.mark.parametrize("pattern", ["block:2x4", "filters"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("sparsity", [0.05, 0.31, 0.6])
def test_units_are_ranked_globally_by_their_mean(
    sparsity: float, norm: str, pattern: str
) -> None:
    made = made_of("ranked")
    plan = planned(made, pattern, sparsity, method="magnitude", options={"norm": norm})
    found = []
    for path, values in made.arrays.items():
        units = units_of(np.abs(values).astype(np.float64), pattern)
        power = 2 if norm == "l2" else 1
        means = (units**power).mean(1) ** (1 / power)
        stays = int(np.argmax(means)) if pattern == "filters" else -1
        found += [
            (mean, path, at, units.shape[1]) for at, mean in enumerate(means) if at != stays
        ]
    target = round(sparsity * sum(values.size for values in made.arrays.values()))
    expected = dict.fromkeys(made.arrays, 0)
    for _, path, _, size in sorted(found):
        before = sum(expected.values())
        if abs(before + size - target) < abs(before - target):
            expected[path] += size
        else:
            break
    assert plan.zeros == expected
