"""Searches for the number of weights that every tensor best keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.errors import TargetError, UsageError
from onnxprune.outcomes import Accuracy
from onnxprune.points import Search
from onnxprune.recipe import make_recipe
from onnxprune.trials.searching import search_min_kept
from tests.trials.made import branches, dividing, needing, quiet, staircase, steps

MAGNITUDE = make_recipe({"method": "magnitude"})


def accuracies(found: Search) -> list[Accuracy | None]:
    return [point.measured and point.measured.accuracy for point in found.study.points]


def bottleneck(path: Path) -> tuple[Path, dict[str, Any]]:
    """Write a model all of whose samples need its smallest weights."""
    model = branches(path, 10, 30, scale=1 / 64)
    return model, needing(list(range(10)), [], (10, 30))


def test_the_number_of_weights_to_keep_is_found_where_it_matters(tmp_path: Path) -> None:
    model, data = bottleneck(tmp_path / "m.onnx")
    recipe = make_recipe({"method": "global", "sparsity": 0.25})
    found = search_min_kept(model, recipe, quiet(data))
    by_setting = dict(zip(found.settings, accuracies(found), strict=True))
    # Without a minimum, all ten small weights go; with one of k, the k largest stay.
    for kept in (0, 1, 2, 4, 8, 9):
        assert by_setting[kept] == Accuracy(10, 10, kept, 10 - kept, 0)
    assert by_setting[16] == by_setting[10] == Accuracy(10, 10, 10, 0, 0)
    assert found.setting == 10
    assert (found.over, found.budget) == ("min-kept", ())
    assert found.sentences == (
        "accuracy 1.0000 where every tensor keeps 10 weights, 0.0000 without that",
    )
    assert found.study.points[0].method == "global, min-kept 0"
    assert {point.sparsity for point in found.study.points} == {0.25}
    assert {point.zeros for point in found.study.points} == {10}


def test_where_nothing_is_gained_no_weight_is_held(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    recipe = make_recipe({"method": "global", "sparsity": 0.5})
    found = search_min_kept(model, recipe, quiet(steps()))
    # One tensor of 10 weights can keep at most the 5 that stay anyway.
    assert found.settings == (0, 1, 2, 4)
    assert found.setting == 0


def test_no_number_above_what_the_sparsity_leaves_is_tried(tmp_path: Path) -> None:
    model, data = bottleneck(tmp_path / "m.onnx")
    recipe = make_recipe({"method": "global", "sparsity": 0.9})
    found = search_min_kept(model, recipe, quiet(data))
    assert max(found.settings) <= 2
    assert all(point.failure is None for point in found.study.points)


def test_a_budget_holds_for_the_number_to_keep_too(tmp_path: Path) -> None:
    model, data = bottleneck(tmp_path / "m.onnx")
    recipe = make_recipe({"method": "global", "sparsity": 0.25})
    found = search_min_kept(model, recipe, quiet(data, max_drop=0.2))
    assert found.setting == 10
    assert found.budget == ("--max-drop 0.2",)
    tight = make_recipe({"method": "global", "sparsity": 0.8})
    with pytest.raises(TargetError) as caught:
        search_min_kept(model, tight, quiet(data, max_drop=0.2))
    assert caught.value.message.startswith(
        "every number of weights to keep is over the budget: accuracy fell by"
    )
    assert caught.value.hint == "a larger budget, or a smaller --sparsity"


def test_the_best_number_to_keep_is_the_best_within_the_budget(tmp_path: Path) -> None:
    model, data = bottleneck(tmp_path / "m.onnx")
    recipe = make_recipe({"method": "global", "sparsity": 0.25})

    def wrong(outputs: Any, _: Any) -> Any:
        return outputs["y"][:, 0] == 0

    # The metric is highest where nothing is kept; half of the decisions need 5 weights.
    assert search_min_kept(model, recipe, quiet(data, metric=wrong)).setting == 0
    found = search_min_kept(model, recipe, quiet(data, metric=wrong, min_agreement=0.5))
    assert found.setting == 5


def test_where_no_point_can_be_measured_the_search_says_why(tmp_path: Path) -> None:
    model = dividing(tmp_path / "m.onnx")
    data = {"x": np.eye(10, dtype=np.float32)}
    with pytest.raises(TargetError) as caught:
        search_min_kept(model, make_recipe({"method": "global", "sparsity": 0.5}), quiet(data))
    assert caught.value.message == (
        "no point could be measured: the pruned model's output 'r' is NaN at sample 0"
    )


def test_the_number_to_keep_is_searched_at_a_sparsity(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        search_min_kept(staircase(tmp_path / "m.onnx"), MAGNITUDE, quiet(steps()))
    assert caught.value.message == "--over min-kept needs --sparsity, which stays as it is"
