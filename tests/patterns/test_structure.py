"""Weights whose outputs stay, and weights whose outputs are one unit."""

import numpy as np
import pytest

from onnxprune.errors import TargetError
from onnxprune.patterns.structure import couplings_of, leave_incomplete, structured
from onnxprune.planning import Plan, make_plan
from onnxprune.recipe import make_recipe
from onnxprune.types import Weight
from tests.tensors_made import Array, Tensors, normal

TRIO = ("a", "b", "d")


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
    weights = structured(made.weights, {}, [TRIO])
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
    weights = structured(made.weights, {}, [("a", "b")])
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
    weights = structured(made.weights, {}, [TRIO])
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
    weights = structured(made.weights, {}, [("a", "b")])
    plan = planned(made, weights, 0.5, exclude=("b",))
    assert set(plan.zeros) == {"c", "d"}
    assert {each.name: each.reason for each in plan.skipped} == {
        "b": "excluded by --exclude",
        "a": "its outputs are one with those of 'b', which is left alone",
    }
    assert leave_incomplete(weights) == (weights, [])
    assert couplings_of(weights) == [("a", "b"), ("c",), ("d",)]


def test_weights_with_other_numbers_of_outputs_cannot_be_one() -> None:
    made = made_of()
    with pytest.raises(ValueError, match="a, c: coupled, with other numbers of outputs"):
        planned(made, structured(made.weights, {}, [("a", "c")]), 0.5)
