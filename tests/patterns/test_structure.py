"""Weights whose outputs stay, and weights whose outputs are one unit."""

import numpy as np
import pytest

from onnxprune.errors import TargetError
from onnxprune.patterns.structure import leave_incomplete, structured
from onnxprune.planning import Plan, make_plan
from onnxprune.recipe import make_recipe
from onnxprune.scoring import Given
from onnxprune.types import Weight
from tests.tensors_made import Array, Tensors, normal

TRIO = ("a", "b", "d")


def together(*paths: str) -> dict[str, Array]:
    """Make the outputs of the same number of some weights one unit."""
    return {path: np.arange(12) for path in paths}


def made_of() -> Tensors:
    return Tensors(
        {
            "a": normal("a1", 12, 6),
            "b": normal("b1", 12, 4, 3, 3) * 0.3,
            "c": normal("c1", 10, 12),
            "d": normal("d1", 12, 5) * 3,
        }
    )


def planned(made: Tensors, weights: list[Weight], sparsity: float, **more: object) -> Plan:
    recipe = make_recipe(
        {"pattern": "filters", "sparsity": sparsity, "method": "magnitude"} | more
    )
    return make_plan(recipe, weights, made.values)


def filters_of(made: Tensors, plan: Plan) -> dict[str, Array]:
    """Return which filters fall, once it is seen that they fall as wholes."""
    found = {}
    for path, gone in made.pruned(plan).items():
        rows = gone.reshape(len(gone), -1)
        assert (rows.any(1) == rows.all(1)).all()
        found[path] = rows.all(1)
    return found


def test_what_has_to_stay_is_left_alone_with_the_reason() -> None:
    made = made_of()
    weights = structured(made.weights, {"c": "its outputs are the model's"})
    plan = planned(made, weights, 0.5)
    assert set(plan.zeros) == {"a", "b", "d"}
    assert [(each.name, each.reason) for each in plan.skipped] == [
        ("c", "its outputs are the model's")
    ]
    unstructured = make_recipe({"sparsity": 0.5})
    assert "c" in make_plan(unstructured, weights, made.values).zeros


@pytest.mark.parametrize("allocation", ["global", "uniform", "lamp", "erk"])
@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.8])
def test_coupled_outputs_fall_together_by_the_mean_of_all_their_weights(
    sparsity: float, allocation: str
) -> None:
    made = made_of()
    weights = structured(made.weights, {}, together(*TRIO))
    plan = planned(made, weights, sparsity, allocation=allocation)
    gone = filters_of(made, plan)
    for path in TRIO:
        np.testing.assert_array_equal(gone[path], gone["a"])
    rows = [np.abs(made.arrays[path]).reshape(12, -1) for path in TRIO]
    worth = np.concatenate(rows, axis=1, dtype=np.float64).mean(1)
    fallen = np.argsort(worth, kind="stable")[: gone["a"].sum()]
    assert set(np.flatnonzero(gone["a"])) == set(fallen)
    size = sum(each.size for each in made.weights)
    assert abs(sum(plan.zeros.values()) - sparsity * size) < 6 + 36 + 5


@pytest.mark.parametrize("multiple", [2, 4, 5])
def test_every_tensor_keeps_a_multiple(multiple: int) -> None:
    made = made_of()
    weights = structured(made.weights, {}, together("a", "b"))
    plan = planned(made, weights, 0.4, channel_multiple=multiple)
    gone = filters_of(made, plan)
    for lost in gone.values():
        kept = int((~lost).sum())
        assert kept % multiple == 0 or kept == lost.size
        assert kept
    np.testing.assert_array_equal(gone["a"], gone["b"])
    size = sum(each.size for each in made.weights)
    assert abs(sum(plan.zeros.values()) - 0.4 * size) < 42 * multiple


def test_caps_hold_for_what_is_coupled() -> None:
    made = made_of()
    weights = structured(made.weights, {}, together(*TRIO))
    plan = planned(made, weights, 0.3, min_kept=24)
    for weight in made.weights:
        assert weight.size - plan.zeros[weight.path] >= min(24, weight.size)
    with pytest.raises(TargetError, match="at most 425 of 684 weights"):
        planned(made, weights, 0.8, min_kept=24)


def test_at_least_one_filter_of_each_stays() -> None:
    made = made_of()
    plan = planned(made, made.weights, 0.9)
    assert all((~lost).any() for lost in filters_of(made, plan).values())
    with pytest.raises(TargetError, match="at most"):
        planned(made, made.weights, 0.99)


def test_the_last_filters_may_be_a_part_of_one_short() -> None:
    made = Tensors({"a": normal("a2", 4, 10)})
    # 30 of 40 can go; 31 are less than a filter more.
    assert planned(made, made.weights, 31 / 40).zeros == {"a": 30}
    with pytest.raises(TargetError) as raised:
        planned(made, made.weights, 1 - 1e-9)
    assert raised.value.hint == "the largest feasible sparsity is 0.7500"


def test_a_weight_is_left_alone_with_those_it_is_coupled_to() -> None:
    made = made_of()
    weights = structured(made.weights, {}, together("a", "b"))
    plan = planned(made, weights, 0.5, exclude=("b",))
    assert set(plan.zeros) == {"c", "d"}
    assert {each.name: each.reason for each in plan.skipped} == {
        "b": "excluded by --exclude",
        "a": "its outputs are one with those of 'b', which is left alone",
    }
    assert leave_incomplete(weights, weights) == (weights, [])


def test_what_is_left_alone_goes_from_weight_to_weight() -> None:
    made = made_of()
    units = {"a": np.arange(12), "b": np.arange(6, 18), "d": np.arange(12, 24)}
    weights = structured(made.weights, {}, units)
    by_path = {weight.path: weight for weight in weights}
    chosen = [by_path[path] for path in ("b", "c", "d")]
    left, skipped = leave_incomplete(chosen, weights)
    assert [weight.path for weight in left] == ["c"]
    assert [(each.name, each.reason.split("'")[1]) for each in skipped] == [
        ("b", "a"),
        ("d", "b"),
    ]


def test_outputs_that_are_one_with_no_other_are_units_of_their_own() -> None:
    made = made_of()
    units = {"a": np.where(np.arange(12) < 4, np.arange(12), -1), "b": np.arange(12)}
    by_path = {each.path: each for each in structured(made.weights, {}, units)}
    own = by_path["a"].units
    assert own[:4] == by_path["b"].units[:4]
    assert len(set(own)) == 12
    assert not set(own[4:]) & set(by_path["b"].units)
    assert by_path["c"].units == ()


def split_of(made: Tensors) -> dict[str, Array]:
    """Let the first outputs of `a` be one with half of `b`, and those of `d` with the rest."""
    return {"a": np.arange(12), "b": np.arange(6, 18), "d": np.arange(12, 24)}


@pytest.mark.parametrize("allocation", ["global", "uniform", "lamp", "erk"])
@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.7])
def test_a_weight_may_share_some_outputs_with_one_and_others_with_another(
    sparsity: float, allocation: str
) -> None:
    made = made_of()
    units = split_of(made)
    weights = structured(made.weights, {}, units)
    plan = planned(made, weights, sparsity, allocation=allocation)
    gone = filters_of(made, plan)
    np.testing.assert_array_equal(gone["a"][6:], gone["b"][:6])
    np.testing.assert_array_equal(gone["b"][6:], gone["d"][:6])
    # Of each kind of unit those fall that are worth least, by an independent mean.
    total, count = np.zeros(24), np.zeros(24)
    for path, numbers in units.items():
        rows = np.abs(made.arrays[path]).reshape(12, -1).astype(np.float64)
        np.add.at(total, numbers, rows.sum(1))
        np.add.at(count, numbers, rows.shape[1])
    worth = total / count
    lost = np.zeros(24, bool)
    for path, numbers in units.items():
        lost[numbers] = gone[path]
    for first in range(0, 24, 6):
        kind = slice(first, first + 6)
        assert worth[kind][lost[kind]].max(initial=0) <= worth[kind][~lost[kind]].min()
        assert not lost[kind].all()
    size = sum(each.size for each in made.weights)
    assert abs(sum(plan.zeros.values()) - sparsity * size) < 36 + 6


def test_a_unit_may_be_several_outputs_of_one_weight() -> None:
    made = made_of()
    # As a head of attention is: three outputs of each of two weights.
    units = {"a": np.repeat(np.arange(4), 3), "b": np.tile(np.arange(4), 3)}
    weights = structured(made.weights, {}, units)
    plan = planned(made, weights, 0.5)
    gone = filters_of(made, plan)
    heads = gone["a"].reshape(4, 3)
    assert (heads.any(1) == heads.all(1)).all()
    np.testing.assert_array_equal(gone["b"].reshape(3, 4), np.tile(heads[:, 0], (3, 1)))
    assert 0 < heads[:, 0].sum() < 4


@pytest.mark.parametrize("multiple", [2, 3, 6])
def test_units_of_several_outputs_keep_a_multiple_of_outputs(multiple: int) -> None:
    made = made_of()
    units = {"a": np.repeat(np.arange(6), 2), "b": np.repeat(np.arange(6), 2)}
    weights = structured(made.weights, {}, units)
    plan = planned(made, weights, 0.4, channel_multiple=multiple)
    for lost in filters_of(made, plan).values():
        kept = int((~lost).sum())
        assert kept % multiple == 0 or kept == lost.size


def test_what_fell_stays_fallen_where_units_are_of_several_kinds() -> None:
    made = made_of()
    weights = structured(made.weights, {}, split_of(made))
    first = filters_of(made, planned(made, weights, 0.3))
    size = {weight.path: weight.size for weight in weights}
    gone = {path: np.repeat(lost, size[path] // lost.size) for path, lost in first.items()}
    more = make_recipe({"pattern": "filters", "sparsity": 0.6, "method": "magnitude"})

    def left(path: str, start: int, stop: int) -> Array:
        values = made.values(path, start, stop)
        return np.where(gone[path][start:stop], 0, values) if path in gone else values

    plan = make_plan(more, weights, left, given=Given({}, gone))
    second = filters_of(made, plan)
    for path, lost in first.items():
        assert (second[path] | ~lost).all()
    assert sum(int(lost.sum()) for lost in second.values()) > sum(
        int(lost.sum()) for lost in first.values()
    )
