"""Pruning in steps, with what is measured written down by hand."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pytest

from onnxprune.errors import TargetError, UsageError
from onnxprune.gradual import GradualPlan, Progressed, make_gradual_plan
from onnxprune.recipe import make_recipe
from onnxprune.types import Array
from tests.tensors_made import Tensors


class Gradients:
    """Measures the same gradients at any mask, and remembers at which it was asked."""

    def __init__(self, **gradients: list[float]) -> None:
        self.loss = 0.25
        self.notes = ["no labels"]
        self.gradients = {name: np.array(each, float) for name, each in gradients.items()}
        self.asked: list[tuple[int, dict[str, list[int]] | None]] = []

    def collect(
        self, names: Collection[str], masks: Mapping[str, Array] | None, step: int
    ) -> dict[str, dict[str, Array]]:
        at = (
            None
            if masks is None
            else {name: each.astype(int).tolist() for name, each in masks.items()}
        )
        self.asked.append((step, at))
        return {name: dict(self.gradients) for name in names}


def tensors() -> Tensors:
    return Tensors({"a": np.array([[4, 3, 2, 1]], "f4"), "b": np.array([[8, 7, 6, 5]], "f4")})


def planned(measuring: Gradients, method: str = "iterative_snip", **more: Any) -> GradualPlan:
    made = tensors()
    extra = {name: more.pop(name) for name in ("begun", "keep", "told") if name in more}
    recipe = make_recipe({"sparsity": 0.75, "method": method, "steps": 2, **more})
    return make_gradual_plan(recipe, made.weights, made.values, measuring, **extra)


def kept(plan: GradualPlan) -> dict[str, list[int]]:
    return {path: mask.astype(int).tolist() for path, mask in plan.masks.items()}


def ones() -> Gradients:
    return Gradients(a=[1, 1, 1, 1], b=[1, 1, 1, 1])


def test_each_step_measures_at_the_mask_of_the_one_before() -> None:
    measuring = ones()
    plan = planned(measuring)
    assert measuring.asked == [(1, None), (2, {"a": [0, 0, 0, 0], "b": [1, 1, 1, 1]})]
    assert kept(plan) == {"a": [0, 0, 0, 0], "b": [1, 1, 0, 0]}
    assert plan.zeros == {"a": 4, "b": 2}
    assert plan.warnings == ["no labels", "'a' ends with no weight at all"]


def test_a_pruner_takes_a_tensor_in_pieces() -> None:
    pruner = planned(ones()).pruner("b")
    pieces = [pruner(start, np.zeros(2)).astype(int).tolist() for start in (0, 2, 0)]
    assert pieces == [[0, 0], [1, 1], [0, 0]]


def test_what_fell_stays_away_unless_the_method_lets_it_return() -> None:
    class Turning(Gradients):
        def collect(
            self, names: Collection[str], masks: Mapping[str, Array] | None, step: int
        ) -> dict[str, dict[str, Array]]:
            found = super().collect(names, masks, step)
            if step == 2:
                found["gradient"]["a"] = np.full(4, 100.0)
            return found

    assert kept(planned(Turning(a=[1] * 4, b=[1] * 4))) == {"a": [0] * 4, "b": [1, 1, 0, 0]}
    returned = planned(Turning(a=[1] * 4, b=[1] * 4), "force")
    assert kept(returned) == {"a": [1, 1, 0, 0], "b": [0] * 4}


def test_of_weights_whose_scores_are_nothing_those_that_fell_before_come_first() -> None:
    # In step 2 five must go: the four of step 1 and one more, not five others of score 0.
    measuring = Gradients(a=[0, 0, 0, 1], b=[0, 0, 0, 1])
    plan = planned(measuring, "iterative_snip", sparsity=0.625)
    assert kept(plan) == {"a": [0, 0, 0, 1], "b": [0, 0, 1, 1]}


def test_steps_are_told_and_kept() -> None:
    told: list[Any] = []
    steps: list[Progressed] = []
    planned(ones(), told=lambda *what: told.append(what), keep=steps.append)
    assert told == [(1, 2, 0.25, 4), (2, 2, 0.25, 2)]
    assert [each.step for each in steps] == [1, 2]
    assert steps[0].masks["b"].all()


def test_a_run_goes_on_where_another_stopped() -> None:
    steps: list[Progressed] = []
    whole = planned(ones(), steps=4, keep=steps.append)
    for begun in steps:
        measuring = ones()
        rest = planned(measuring, steps=4, begun=begun)
        assert kept(rest) == kept(whole)
        assert rest.zeros == whole.zeros
        assert [step for step, _ in measuring.asked] == [*range(begun.step + 1, 5)]


def test_a_tensor_that_is_not_measured_is_left_alone_with_its_reason() -> None:
    plan = planned(Gradients(b=[1, 1, 1, 1]))
    assert [(each.name, each.reason) for each in plan.skipped] == [
        ("a", "no gradient reaches it")
    ]
    assert kept(plan) == {"b": [0 + (at == 0) for at in range(4)]}


def test_a_layers_own_sparsity_is_reached_in_steps_too() -> None:
    steps: list[Progressed] = []
    planned(ones(), layer={"a": 0.5}, sparsity=0.5, schedule="linear", keep=steps.append)
    assert [int(each.masks["a"].sum()) for each in steps] == [3, 2]
    assert [int(each.masks["b"].sum()) for each in steps] == [3, 2]


@pytest.mark.parametrize("more", [{"exclude": ["a"]}, {"include": ["b"]}])
def test_a_layer_that_takes_no_part_needs_no_sparsity(more: dict[str, Any]) -> None:
    plan = planned(Gradients(b=[1, 1, 1, 1]), layer={"a": 0.5}, **more)
    assert kept(plan) == {"b": [1, 0, 0, 0]}


def test_a_layer_that_no_gradient_reaches_needs_no_sparsity() -> None:
    plan = planned(Gradients(b=[1, 1, 1, 1]), layer={"a": 0.5})
    assert kept(plan) == {"b": [1, 0, 0, 0]}


def test_a_layer_that_is_nowhere_is_refused() -> None:
    with pytest.raises(UsageError, match="--layer 'c' matches no prunable tensor"):
        planned(ones(), layer={"c": 0.5})


def test_without_a_total_nothing_is_measured() -> None:
    measuring = ones()
    with pytest.raises(UsageError) as caught:
        planned(measuring, sparsity=None)
    assert str(caught.value) == "iterative_snip prunes in 2 steps, which need a total"
    assert caught.value.hint == "--sparsity gives it"
    assert not measuring.asked


def test_scores_of_nothing_are_refused() -> None:
    with pytest.raises(TargetError) as caught:
        planned(Gradients(a=[0] * 4, b=[0] * 4))
    assert str(caught.value) == "step 1: all scores are 0 before any weight has fallen"
    assert caught.value.hint == "no labels"
    assert caught.value.exit_code == 7


def test_a_collapse_names_the_tensor_that_kept_least() -> None:
    class Collapsing(Gradients):
        def collect(
            self, names: Collection[str], masks: Mapping[str, Array] | None, step: int
        ) -> dict[str, dict[str, Array]]:
            found = super().collect(names, masks, step)
            if step == 2:
                found["gradient"] = {name: np.zeros(4) for name in found["gradient"]}
            return found

    with pytest.raises(TargetError, match=r"step 2: .* of 'a' 1 of 4 is left"):
        planned(Collapsing(a=[1] * 4, b=[1] * 4), min_kept=1)
    with pytest.raises(TargetError, match=r"step 2: .* of 'a' nothing of 4 is left"):
        planned(Collapsing(a=[1] * 4, b=[1] * 4))
