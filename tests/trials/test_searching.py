"""Searches: found where an exhaustive sweep finds it, refused where there is nothing to find."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.errors import TargetError, UsageError
from onnxprune.outcomes import Accuracy
from onnxprune.points import Search
from onnxprune.recipe import make_recipe
from onnxprune.studying import sweep
from onnxprune.trials.intervals import drop_interval
from onnxprune.trials.searching import search_sparsity
from onnxprune.trials.trying import Workbench
from tests.trials.made import branches, dividing, needing, quiet, staircase, steps

MAGNITUDE = make_recipe({"method": "magnitude"})


def searched(
    model: Path, data: Any, resolution: float = 0.01, confident: bool = False, **given: Any
) -> Search:
    return search_sparsity(model, MAGNITUDE, quiet(data, **given), resolution, confident)


@pytest.mark.parametrize("limit", [0.01, 0.13, 0.37, 0.5, 0.98])
def test_the_largest_sparsity_within_the_budget_is_found(limit: float, tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx", 100)
    found = searched(model, steps(100), max_drop=limit)
    # Each weight is one sample's: so many points may go as the budget has.
    assert found.setting == limit
    assert len(found.study.points) <= 8
    assert found.result.measured.accuracy == Accuracy(
        100, 100, 100 - round(100 * limit), round(100 * limit), 0
    )
    assert found.result.passed
    assert found.accepted[found.chosen]
    assert (found.over, found.budget) == ("sparsity", (f"--max-drop {limit}",))


def test_the_search_finds_what_trying_everything_finds(tmp_path: Path) -> None:
    model = branches(tmp_path / "m.onnx", scale=0.5)
    data = needing([2, 4, 4, 9], [0, 1, 1, 7])
    trial = quiet(data, max_drop=0.3)
    resolution = 0.05
    tried = [round(step * resolution, 10) for step in range(20)]
    exhaustive = sweep(model, trial, ["lamp"], tried)
    within = [
        point.sparsity
        for point in exhaustive.points
        if point.measured and trial.gate.conditions(point.measured)[0].passed
    ]
    recipe = make_recipe({"method": "lamp"})
    found = search_sparsity(model, recipe, trial, resolution)
    # Accuracy only falls here, so that the highest point within is the last one.
    assert within == tried[: len(within)]
    assert found.setting == within[-1]
    for point in found.study.points:
        same = exhaustive.point("lamp", point.sparsity)
        assert same is not None
        assert (point.measured, point.zeros) == (same.measured, same.zeros)


def test_the_points_halve_what_is_left_and_say_what_decides(tmp_path: Path) -> None:
    found = searched(staircase(tmp_path / "m.onnx", 100), steps(100), max_drop=0.37)
    assert found.settings == (0.5, 0.25, 0.37, 0.43, 0.4, 0.38)
    assert found.accepted == (False, True, True, False, False, False)
    assert found.chosen == 2
    low, high = drop_interval(Accuracy(100, 100, 63, 37, 0))
    assert found.sentences == (
        "0.37 is within the budget: 37 of 100 samples decide (37 lost, 0 won), a drop of"
        f" 37.00 points, 95 % interval {100 * low:.2f} to {100 * high:.2f}",
        found.sentences[1],
        "larger sparsities than the first one over the budget are taken to be over it, too",
    )
    assert found.sentences[1].startswith("0.38 is over the budget: 38 of 100 samples decide")
    assert [point.method for point in found.study.points] == ["magnitude"] * 6
    assert found.study.kind == "search"


@pytest.mark.parametrize(
    ("resolution", "setting", "points"),
    [(0.5, 0.5, 1), (0.3, 0.3, 2), (0.1, 0.5, 4), (0.05, 0.5, 5), (0.0001, 0.5499, 14)],
)
def test_sparsities_are_multiples_of_the_resolution(
    resolution: float, setting: float, points: int, tmp_path: Path
) -> None:
    model = staircase(tmp_path / "m.onnx", 10)
    found = searched(model, steps(10), resolution, max_drop=0.55)
    # Of 10 weights 0.55 takes round(5.5) = 6, which is one too many.
    assert found.setting == setting
    assert len(found.study.points) <= points
    steps_taken = [each / resolution for each in found.settings]
    assert steps_taken == pytest.approx([round(step) for step in steps_taken])


def test_where_everything_is_within_the_budget_the_highest_wins(tmp_path: Path) -> None:
    found = searched(staircase(tmp_path / "m.onnx", 100), steps(100), max_drop=1)
    assert found.setting == 0.99
    assert found.sentences[1] == "no sparsity that was tried is over the budget"
    assert all(found.accepted)


def test_a_budget_that_nothing_meets_cannot_be_reached(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx", 100)
    with pytest.raises(TargetError) as caught:
        searched(model, steps(100), max_drop=0.001)
    assert caught.value.exit_code == 7
    assert caught.value.message == (
        "already sparsity 0.01 is over the budget: accuracy fell by 1.00 points"
        " (100.00 % -> 99.00 %: 1 of 100), --max-drop 0.001 allows 0.10"
    )
    assert caught.value.hint == "a larger budget, or a method that loses less"


def test_points_without_numbers_are_over_the_budget(tmp_path: Path) -> None:
    model = dividing(tmp_path / "m.onnx")
    data = {"x": np.eye(10, dtype=np.float32)[3:]}
    found = searched(model, data, 0.1, max_drop=0.5, metric=one)
    assert found.setting == 0.3
    assert found.sentences[:2] == ("0.3 is within the budget", "0.4 is over the budget")
    with pytest.raises(TargetError) as caught:
        searched(model, {"x": np.eye(10, dtype=np.float32)}, 0.1, max_drop=0.5, metric=one)
    assert caught.value.message == (
        "already sparsity 0.1 is over the budget:"
        " the pruned model's output 'r' is NaN at sample 0"
    )


def one(*_: object) -> float:
    return 1.0


def test_a_confident_search_takes_the_whole_interval(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx", 100)
    found = searched(model, steps(100), confident=True, max_drop=0.37)
    expected = max(
        lost
        for lost in range(100)
        if drop_interval(Accuracy(100, 100, 100 - lost, lost, 0))[1] <= 0.37
    )
    assert found.setting == expected / 100 < 0.37
    interval = found.result.interval
    assert interval is not None
    assert interval[1] <= 0.37


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"min_accuracy": 0.5}, "--confident goes with --max-drop", None),
        (
            {"max_drop": 0.5, "metric": one},
            "--confident: this accuracy has no interval",
            "it takes labels, one for each sample, and no --metric",
        ),
    ],
)
def test_a_search_cannot_be_confident_without_an_interval(
    given: dict[str, Any], message: str, hint: str | None, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        searched(staircase(tmp_path / "m.onnx"), steps(), confident=True, **given)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize("resolution", [0, -0.1, 0.00001, 0.51, float("nan")])
def test_a_resolution_that_makes_no_sense_is_refused(
    resolution: float, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"--resolution lies in \[0.0001, 0.5\], got"):
        searched(staircase(tmp_path / "m.onnx"), steps(), resolution, max_drop=0.5)


def test_a_search_needs_a_budget(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        searched(staircase(tmp_path / "m.onnx"), steps())
    assert caught.value.message == "a search needs a budget"
    assert caught.value.hint == "such as --max-drop 0.01"


def test_all_conditions_are_a_budget(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx", 100)
    found = searched(model, steps(100), max_drop=0.5, min_agreement=0.8)
    assert found.setting == 0.2
    assert found.budget == ("--max-drop 0.5", "--min-agreement 0.8")


def test_the_model_that_won_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = staircase(tmp_path / "m.onnx")
    opened: list[int] = []
    plain = Workbench.open

    def noted(self: Workbench, plan: Any) -> None:
        opened.append(sum(plan.zeros.values()))
        plain(self, plan)

    monkeypatch.setattr(Workbench, "open", noted)
    found = searched(model, steps(), 0.1, max_drop=0.5, latency=True)
    assert found.setting == 0.5
    assert opened[-1] == 5
    assert found.settings[-1] != 0.5
    assert found.study.latency is not None


def test_progress_never_runs_backwards_or_over(tmp_path: Path) -> None:
    shares: list[float] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "searching":
            assert done <= total
            shares.append(done)

    model = staircase(tmp_path / "m.onnx", 40)
    trial = quiet(steps(40), max_drop=0.5)
    search_sparsity(model, MAGNITUDE, trial, 0.01, progress=progress)
    assert shares == sorted(shares)
    assert shares
