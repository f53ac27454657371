"""Ratios read from files: pruned models, reports, masks, and the costs that a sensitivity has."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.allocations.curves import Curves
from onnxprune.errors import InputError, LimitError
from onnxprune.masks import load, write
from onnxprune.outcomes import Measured, OutputCheck, OwnMetric
from onnxprune.points import Point, Study
from onnxprune.ratios import curves_of, ratios_file, read_ratios
from onnxprune.recipe import make_recipe
from onnxprune.report.study_json import study_to_json
from tests.conftest import Ran
from tests.report import made_checks

Run = Callable[..., Ran]
SOURCES = ("model", "report", "masks")


@pytest.fixture
def sources(digits: Path, tmp_path: Path, run: Run) -> dict[str, Path]:
    """A model pruned with ERK at 0.8, its report and its masks."""
    made = {"model": "p.onnx", "report": "r.json", "masks": "m.npz"}
    paths = {name: tmp_path / file for name, file in made.items()}
    words = ["-s", "0.8", "-m", "erk", "-o", paths["model"], "--report", paths["report"]]
    assert run(digits, *words, "-q", "--no-verify").code == 0
    assert run("mask", "export", paths["model"], "-o", paths["masks"], "-q").code == 0
    return paths


@pytest.mark.parametrize("source", SOURCES)
def test_ratios_are_read_from_anything_that_has_them(
    source: str, sources: dict[str, Path]
) -> None:
    masks = load(sources["model"])
    assert read_ratios(sources[source]) == {
        name: Fraction(int((~mask).sum()), mask.size) for name, mask in masks.items()
    }


def test_an_empty_mask_has_a_ratio_of_nothing(tmp_path: Path) -> None:
    write(tmp_path / "m.npz", [("w", np.zeros((0, 4), bool))], "")
    assert read_ratios(tmp_path / "m.npz") == {"w": Fraction(0)}


@pytest.mark.parametrize(
    ("allocation", "file"), [("from:a/b.json", "a/b.json"), ("erk", None), (None, None)]
)
def test_a_recipe_names_the_file(allocation: str | None, file: str | None) -> None:
    recipe = make_recipe({"allocation": allocation})
    assert ratios_file(recipe) == (Path(file) if file else None)


def report(**tensor: Any) -> str:
    return json.dumps({"tensors": [{"name": "w", "zeros": 1, "size": 2} | tensor]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a report of onnxprune"),
        ("{}", "not a report of onnxprune"),
        ('{"tensors": 3}', "not a report of onnxprune"),
        ('{"tensors": ["w"]}', "not a report of onnxprune"),
        ('{"tensors": {"w": 1}}', "not a report of onnxprune"),
        ('{"tensors": [{"name": "w"}]}', "not a report of onnxprune"),
        (report(size=0), "not a report of onnxprune"),
        (report(size=None), "not a report of onnxprune"),
        (report(zeros="many"), "not a report of onnxprune"),
        (report(zeros=float("nan")), "not a report of onnxprune"),
        (report(zeros=float("inf")), "not a report of onnxprune"),
        (report(zeros=-1), "the zeros of 'w' do not fit its size"),
        (report(zeros=3), "the zeros of 'w' do not fit its size"),
        (report(zeros=10**4000), "the zeros of 'w' do not fit its size"),
        (report(size=-2), "the zeros of 'w' do not fit its size"),
        ('{"tensors": ' + "[" * 100_000, "not a report of onnxprune"),
        ('{"tensors": "\udcff"}', "not a report of onnxprune"),
        ("[1, 2]", "not an ONNX file"),
        ('{"kind": "sensitivity"}', "not a study of onnxprune: its schema is not 1"),
        ('{"kind": "diary"}', "not a report of onnxprune"),
    ],
    ids=range(20),
)
def test_a_file_without_ratios_is_bad_input(
    text: str, message: str, run: Run, digits: Path, tmp_path: Path
) -> None:
    file = tmp_path / "r.json"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(InputError) as refused:
        read_ratios(file)
    assert str(refused.value).startswith(f"{file}: {message}")
    ran = run(digits, "-s", "0.5", "--allocation", f"from:{file}", "--dry-run", "--no-verify")
    assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)


def test_an_endless_report_is_over_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text("{")
    with file.open("r+b") as stream:
        stream.truncate(1 << 29)
    with pytest.raises(LimitError, match="512 MiB is no report of onnxprune"):
        read_ratios(file)


def output(kl: float | None = None, cosine: float | None = None) -> OutputCheck:
    return OutputCheck("y", "values", False, kl=kl, cosine=cosine)


def point(tensor: str, sparsity: float, *outputs: OutputCheck) -> Point:
    return Point(tensor, sparsity, 1, 10, Measured(outputs))


def study(points: list[Point], **fields: Any) -> Study:
    return replace(made_checks.study(points, "sensitivity"), **fields)


def costs(points: list[Point], **fields: Any) -> dict[str, list[tuple[float, float]]]:
    found = curves_of(study_to_json(study(points, **fields)).encode())
    return {name: list(curve) for name, curve in found.costs.items()}


def test_divergence_is_the_cost_where_there_is_any() -> None:
    points = [
        point("v", 0.9, output(0.5, 0.1), output(0.75, 0.2)),
        point("v", 0.5, output(0.25, 0.3), output(None, 0.4)),
        point("w", 0.5, output(0.0, 1.0)),
    ]
    # Of several outputs the one that changes most counts.
    assert costs(points) == {"v": [(0.5, 0.25), (0.9, 0.75)], "w": [(0.5, 0.0)]}


def test_without_it_the_angle_between_the_outputs_is() -> None:
    points = [
        point("v", 0.5, output(None, 0.75), output(None, 0.5)),
        point("w", 0.5, output(0.1, 0.25)),
    ]
    assert costs(points) == {"v": [(0.5, 0.5)], "w": [(0.5, 0.75)]}


def test_without_both_the_lost_figure_is() -> None:
    def own(pruned: float) -> Measured:
        return Measured((), OwnMetric("f", 2.0, pruned))

    points = [Point("v", 0.5, 1, 10, own(1.5)), Point("w", 0.5, 1, 10, own(2.25))]
    assert costs(points, dense=2.0) == {"v": [(0.5, 0.5)], "w": [(0.5, -0.25)]}


def test_nothing_is_known_beyond_a_point_that_failed() -> None:
    points = [
        point("v", 0.9, output(0.5)),
        Point("v", 0.7, 1, 10, None, "NaN"),
        point("v", 0.5, output(0.25)),
        Point("w", 0.5, 1, 10, None, "NaN"),
    ]
    assert costs(points) == {"v": [(0.5, 0.25)], "w": []}


@pytest.mark.parametrize("figure", [float("nan"), float("inf")])
def test_a_cost_that_is_no_number_is_none(figure: float) -> None:
    own = Measured((), OwnMetric("f", 1.0, figure))
    with pytest.raises(InputError, match="its points have no figure in common"):
        costs([Point("v", 0.5, 1, 10, own)])
    with pytest.raises(InputError, match="its points have no figure in common"):
        costs([Point("v", 0.5, 1, 10, Measured((), OwnMetric("f", 1, 1)))], dense=figure)
    points = [point("v", 0.5, output(figure, 0.5)), point("v", 0.7, output(0.5, 0.25))]
    assert costs(points) == {"v": [(0.5, 0.5), (0.7, 0.75)]}


def test_other_studies_have_no_costs(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(study_to_json(made_checks.sweep()))
    with pytest.raises(InputError) as caught:
        read_ratios(file)
    assert caught.value.message == f"{file}: a sweep has no costs of single tensors"
    assert caught.value.hint == "onnxprune sensitivity measures them"


def test_a_sensitivity_in_a_file_gives_curves(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(study_to_json(made_checks.sensitivity()))
    found = read_ratios(file)
    assert isinstance(found, Curves)
    assert set(found.costs) == {"conv.weight", "fc.weight"}
    assert [sparsity for sparsity, _ in found.costs["fc.weight"]] == [0.5, 0.9]
