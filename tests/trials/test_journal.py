"""Finished points of an interrupted run: kept, taken over, and refused where they do not fit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.errors import InputError
from onnxprune.points import Study
from onnxprune.recipe import make_recipe
from onnxprune.studying import run_sensitivity, run_sweep
from onnxprune.trials import journal as module
from onnxprune.trials.journal import Journal
from onnxprune.trials.trying import Workbench
from tests.trials.made import Arrays, branches, needing, quiet, staircase, steps

METHODS = ("magnitude", "random")
SPARSITIES = (0.2, 0.5, 0.8)


class Stop(BaseException):
    """Stands for whatever ends a process."""


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float | None]]:
    """List the points that are run; the run is stopped at the one of the number `stop`."""
    points: list[tuple[str, float | None]] = []
    run = Workbench.point

    def noted(self: Workbench, label: str, recipe: Any, *rest: Any, **more: Any) -> Any:
        points.append((label, recipe.sparsity))
        if len(points) == 4:
            raise Stop
        return run(self, label, recipe, *rest, **more)

    monkeypatch.setattr(Workbench, "point", noted)
    return points


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return staircase(tmp_path / "m.onnx")


def swept(
    model: Path,
    journal: Journal | None,
    data: Any = None,
    recipe: dict[str, Any] | None = None,
    **given: Any,
) -> Study:
    trial = quiet(steps() if data is None else data, **given)
    return run_sweep(model, trial, METHODS, SPARSITIES, make_recipe(recipe or {}), journal)


def timeless(study: Study) -> Study:
    points = tuple(replace(point, seconds=0) for point in study.points)
    return replace(study, points=points, seconds=0)


def interrupted(model: Path, path: Path, **given: Any) -> None:
    with pytest.raises(Stop):
        swept(model, Journal(path, resume=False), **given)


def test_an_interrupted_sweep_goes_on_and_gives_the_same_study(
    model: Path, tried: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "j.json"
    interrupted(model, path)
    assert len(json.loads(path.read_bytes())["points"]) == 3
    tried[:] = ["as if many had been run"] * 10
    journal = Journal(path, resume=True)
    resumed = swept(model, journal)
    assert tried[10:] == [("random", sparsity) for sparsity in SPARSITIES]
    assert timeless(resumed) == timeless(swept(model, None))
    assert journal.kept == 6
    journal.end()
    assert not path.exists()
    journal.end()


def test_an_interrupted_sensitivity_goes_on_and_gives_the_same_study(
    tried: list[Any], tmp_path: Path
) -> None:
    model, path = branches(tmp_path / "m.onnx"), tmp_path / "j.json"
    trial = quiet(needing(list(range(10)), list(range(5))))
    arguments = (model, trial, SPARSITIES, make_recipe({"method": "magnitude"}))
    with pytest.raises(Stop):
        run_sensitivity(*arguments, Journal(path, resume=False))
    tried[:] = ["as if many had been run"] * 10
    resumed = run_sensitivity(*arguments, Journal(path, resume=True))
    assert tried[10:] == [("w", sparsity) for sparsity in SPARSITIES]
    assert timeless(resumed) == timeless(run_sensitivity(*arguments))


def test_points_that_could_not_be_measured_are_taken_over_too(
    model: Path, tried: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "j.json"
    recipe = {"max_layer_sparsity": 0.5}
    interrupted(model, path, recipe=recipe)
    tried[:] = ["as if many had been run"] * 10
    resumed = swept(model, Journal(path, resume=True), recipe=recipe)
    failures = [point.failure for point in resumed.points]
    assert failures[0] is failures[1] is None
    assert failures[2] == failures[5] == "the caps on tensors: at most 5 of 10 weights can go"
    assert timeless(resumed) == timeless(swept(model, None, recipe=recipe))


def test_a_resumed_run_whose_rest_cannot_be_measured_has_nothing_to_time(
    model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "j.json"
    recipe = make_recipe({"max_layer_sparsity": 0.5})
    trial = replace(quiet(steps()), latency=True)
    run_sweep(model, trial, ["magnitude"], [0.3], recipe, Journal(path, resume=False))
    found = run_sweep(model, trial, ["magnitude"], [0.3, 0.8], recipe, Journal(path, True))
    assert [point.failure is None for point in found.points] == [True, False]
    assert found.latency is None


CHANGES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "data": lambda _: {"data": steps() | {"labels": np.ones(10, np.int64)}},
    "samples": lambda _: {"limit": 5},
    "batch": lambda _: {"batch": 2},
    "task": lambda _: {"task": "classes"},
    "metric": lambda _: {"metric": lambda *_: 1.0},
    "recipe": lambda _: {"recipe": {"min_kept": 1}},
    "seed": lambda _: {"recipe": {"seed": 1}},
    "allocation": lambda _: {"recipe": {"method": "magnitude", "allocation": "uniform"}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_points_of_another_run_are_refused(
    change: str, model: Path, tried: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "j.json"
    interrupted(model, path)
    kept = path.read_bytes()
    with pytest.raises(InputError) as caught:
        swept(model, Journal(path, resume=True), **CHANGES[change](tmp_path))
    assert caught.value.message == (
        f"{path}: the points of another run: model, data, options or versions differ"
    )
    assert caught.value.hint == "without --resume it starts anew"
    assert path.read_bytes() == kept
    assert len(tried) == 4


def test_the_points_of_another_model_version_or_method_are_refused(
    model: Path, tried: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j.json"
    interrupted(model, path)
    model.write_bytes(model.read_bytes() + b"\x1a\x01d")
    with pytest.raises(InputError, match="the points of another run"):
        swept(model, Journal(path, resume=True))
    staircase(model)
    monkeypatch.setattr(module, "__version__", "0.0.0")
    with pytest.raises(InputError, match="the points of another run"):
        swept(model, Journal(path, resume=True))
    with pytest.raises(InputError, match="the points of another run"):
        run_sensitivity(
            model, quiet(steps()), SPARSITIES, make_recipe({}), Journal(path, resume=True)
        )
    assert len(tried) == 4


def test_a_sensitivity_by_another_method_is_another_run(
    tried: list[Any], tmp_path: Path
) -> None:
    model, path = branches(tmp_path / "m.onnx"), tmp_path / "j.json"
    trial = quiet(needing([1], [2]))
    with pytest.raises(Stop):
        recipe = make_recipe({"method": "magnitude"})
        run_sensitivity(model, trial, SPARSITIES, recipe, Journal(path, resume=False))
    with pytest.raises(InputError, match="the points of another run"):
        recipe = make_recipe({"method": "random"})
        run_sensitivity(model, trial, SPARSITIES, recipe, Journal(path, resume=True))


def test_ratios_that_changed_make_another_run(
    model: Path, tried: list[Any], tmp_path: Path
) -> None:
    path, ratios = tmp_path / "j.json", tmp_path / "r.json"
    trial, recipe = quiet(steps()), make_recipe({})
    label = f"magnitude+from:{ratios}"

    def run(journal: Journal) -> None:
        run_sweep(model, trial, [label], (0.1, 0.2, 0.3, 0.4), recipe, journal)

    ratios.write_text('{"tensors": [{"name": "w", "zeros": 1, "size": 2}]}')
    with pytest.raises(Stop):
        run(Journal(path, resume=False))
    ratios.write_text('{"tensors": [{"name": "w", "zeros": 1, "size": 3}]}')
    with pytest.raises(InputError, match="the points of another run"):
        run(Journal(path, resume=True))


def test_a_function_is_known_by_its_name_alone(
    model: Path, tried: list[Any], tmp_path: Path
) -> None:
    def parts() -> list[Arrays]:
        return [steps()]

    path = tmp_path / "j.json"
    interrupted(model, path, data=parts)
    tried[:] = ["as if many had been run"] * 10
    assert len(swept(model, Journal(path, resume=True), data=parts).points) == 6
    assert len(tried) == 13


def test_without_resume_the_points_of_before_are_replaced(
    model: Path, tried: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "j.json"
    interrupted(model, path)
    tried[:] = ["as if many had been run"] * 10
    assert len(swept(model, Journal(path, resume=False)).points) == 6
    assert len(tried) == 16


def test_figures_come_back_as_they_were(model: Path, tried: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "j.json"
    interrupted(model, path)
    journal = Journal(path, resume=True)
    fingerprint = json.loads(path.read_bytes())["fingerprint"]
    back = journal.begin(fingerprint)
    tried[:] = ["as if many had been run"] * 10
    assert [replace(point, seconds=0) for point in back] == [
        replace(point, seconds=0) for point in swept(model, None).points[:3]
    ]
    assert all(point.seconds > 0 for point in back)
