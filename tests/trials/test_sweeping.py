"""Sweeps: the same figures as files, for every method there is; points that fail; progress."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import onnxprune
from onnxprune.errors import TargetError, UsageError
from onnxprune.outcomes import Accuracy
from onnxprune.points import Study
from onnxprune.recipe import make_recipe
from onnxprune.studying import check, sweep
from onnxprune.trials.sweeping import METHODS, SPARSITIES, sweep_file, variant_of
from onnxprune.trials.trial import Trial
from tests import models
from tests.shared import needs_models
from tests.trials.known import CIFAR, needs_data
from tests.trials.made import Arrays, dividing, quiet, staircase, steps

SPARSE = 0.87


def alone() -> list[str]:
    """List every method and allocation that needs no file and no samples of its own."""
    return [info.name for info in onnxprune.methods() if set(info.needs) <= {"rng"}]


def pairs() -> list[str]:
    """List every method that scores together with every allocation."""
    kinds: dict[str, list[str]] = {"method": [], "allocation": []}
    for info in onnxprune.methods():
        if info.name in alone():
            kinds[info.kind].append(info.name)
    return [f"{score}+{rule}" for score in kinds["method"] for rule in kinds["allocation"]]


class Swept(NamedTuple):
    """A model, how it was tried, and what came of it."""

    model: Path
    trial: Trial
    study: Study


def swept(model: Path, trial: Trial, labels: Sequence[str]) -> Swept:
    # Gentle sparsities would hide a mistake in which weights go.
    return Swept(model, trial, sweep(model, trial, labels, [SPARSE]))


@pytest.fixture(scope="module")
def shipped(digits: Path) -> Swept:
    data = digits.parents[2] / "calibration" / "digits_test.npz"
    return swept(digits, quiet(data), [*alone(), *pairs()])


@pytest.fixture(
    scope="module",
    params=[
        ("resnet20/ts_bn.onnx", "cifar10_test", CIFAR, 32),
        ("mnist_cntk/mnist.onnx", "mnist_test", None, 40),
    ],
    ids=["resnet20", "mnist"],
)
def known(request: pytest.FixtureRequest) -> Swept:
    model, data, reading, limit = request.param
    trial = quiet(needs_data(data), reading=reading, limit=limit)
    return swept(needs_models(model), trial, alone())


def check_equal_to_file(found: Swept, label: str, output: Path) -> None:
    """A point of a sweep has all figures of a file that was pruned and checked."""
    method, _, allocation = label.partition("+")
    report = onnxprune.prune(
        found.model, SPARSE, method, allocation=allocation or None, output=output, verify=False
    )
    point = found.study.point(label, SPARSE)
    assert point is not None
    assert point.failure is None
    assert (point.zeros, point.size) == (report.mask_zeros, report.size)
    assert point.measured == check(found.model, output, found.trial).result.measured


@pytest.mark.parametrize("label", [*alone(), *pairs()])
def test_a_sweep_of_the_shipped_model_has_the_figures_of_files(
    label: str, shipped: Swept, tmp_path: Path
) -> None:
    check_equal_to_file(shipped, label, tmp_path / "o.onnx")


@pytest.mark.parametrize("label", alone())
def test_a_sweep_of_a_known_model_has_the_figures_of_files(
    label: str, known: Swept, tmp_path: Path
) -> None:
    check_equal_to_file(known, label, tmp_path / "o.onnx")


def test_the_points_are_those_asked_for_each_once(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    study = sweep(
        model, quiet(steps()), ["random", "magnitude", "random"], [0.5, "20%", 0.2, 0.8]
    )
    assert [(point.method, point.sparsity) for point in study.points] == [
        (method, sparsity)
        for method in ("random", "magnitude")
        for sparsity in (0.2, 0.5, 0.8)
    ]
    assert (study.kind, study.model) == ("sweep", str(model))
    assert (study.measure, study.dense) == ("accuracy", 1.0)
    found = [point.measured and point.measured.accuracy for point in study.points[3:]]
    assert found == [Accuracy(10, 10, 10 - lost, lost, 0) for lost in (2, 5, 8)]
    assert [(point.zeros, point.size) for point in study.points[3:]] == [
        (2, 10),
        (5, 10),
        (8, 10),
    ]
    assert study.latency is None
    assert study.sizes is not None
    assert study.sizes.before == model.stat().st_size


def test_a_sweep_writes_no_file(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    sweep(model, quiet(steps()))
    assert list(tmp_path.iterdir()) == [model]


def test_the_defaults_are_those_of_the_command(tmp_path: Path) -> None:
    study = sweep(staircase(tmp_path / "m.onnx"), quiet(steps()))
    assert study.methods == METHODS
    assert study.sparsities == SPARSITIES


def test_a_label_may_be_a_pair_a_file_or_have_the_allocation_of_the_recipe() -> None:
    plain = make_recipe({"allocation": "uniform", "min_kept": 3})
    assert variant_of(plain, "random", 0.5) == make_recipe(
        {"method": "random", "allocation": "uniform", "sparsity": 0.5, "min_kept": 3}
    )
    pair = variant_of(plain, "./own.py+erk", 0.5)
    assert (pair.method, pair.allocation, pair.min_kept) == ("./own.py", "erk", 3)


def test_the_allocation_of_the_recipe_holds_for_all_methods(digits: Path) -> None:
    data = digits.parents[2] / "calibration" / "digits_test.npz"
    trial = quiet(data, limit=50)
    given = sweep(digits, trial, ["magnitude"], [0.9], allocation="uniform")
    named = sweep(digits, trial, ["magnitude+uniform", "magnitude"], [0.9])
    assert given.points[0].measured == named.points[0].measured != named.points[1].measured


@pytest.mark.parametrize(
    ("methods", "sparsities", "message"),
    [
        ([], [0.5], "--methods names no method"),
        (["lamp"], [], "--sparsities names none"),
        (["magnitude", "lmap"], [0.5], "unknown method 'lmap'"),
        (["lamp"], [90], r"--sparsity lies in \[0, 1\), got 90"),
        (["magnitude+nope"], [0.5], "unknown allocation 'nope'"),
        (["from"], [0.5], "from takes its ratios from a file"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(
    methods: list[str], sparsities: list[float], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        sweep(staircase(tmp_path / "m.onnx"), quiet(steps()), methods, sparsities)


def test_what_is_wrong_with_the_last_method_is_said_before_the_first_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a point was run")

    monkeypatch.setattr("onnxprune.trials.trying.Workbench.point", never)
    with pytest.raises(UsageError, match="unknown method 'lmap'"):
        sweep(staircase(tmp_path / "m.onnx"), quiet(steps()), ["magnitude", "lmap"], [0.5])
    with pytest.raises(TargetError, match="the caps on tensors"):
        sweep(
            staircase(tmp_path / "m.onnx"),
            quiet(steps()),
            ["magnitude"],
            [0.5],
            max_layer_sparsity=0.2,
        )


def test_a_point_without_numbers_says_so_and_the_others_go_on(tmp_path: Path) -> None:
    model = dividing(tmp_path / "m.onnx")
    # The first two samples need no weight: the two that go first.
    data = {"x": np.eye(10, dtype="f4")[2:]}
    study = sweep(model, quiet(data), ["magnitude"], [0.1, 0.2, 0.3, 0.5])
    failures = [point.failure for point in study.points]
    assert failures == [
        None,
        None,
        "the pruned model's output 'r' is NaN at sample 0",
        "the pruned model's output 'r' is NaN at sample 0",
    ]
    assert [point.measured is None for point in study.points] == [False, False, True, True]
    assert [point.zeros for point in study.points] == [1, 2, 3, 5]
    assert study.points[2].value is None


def test_a_sparsity_beyond_the_caps_says_so_and_the_others_go_on(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    trial = quiet(steps(), latency=True)
    study = sweep(model, trial, ["magnitude"], [0.3, 0.9, 0.5], max_layer_sparsity=0.5)
    assert [point.failure for point in study.points] == [
        None,
        None,
        "the caps on tensors: at most 5 of 10 weights can go",
    ]
    assert study.latency is not None


def test_outputs_that_overflow_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    nodes = [models.node("MatMul x w -> s"), models.node("Reciprocal s -> y")]
    weights = [models.constant("w", [[1.0], [2.0], [3.0], [4.0]])]
    models.save(path, models.model(nodes, {"x": ["n", 4]}, "y", weights))
    study = sweep(path, quiet({"x": np.eye(4, dtype="f4")}), ["magnitude"], [0.5])
    (point,) = study.points
    assert point.measured is not None
    assert point.measured.outputs[0].max_abs == float("inf")


def told_by(model: Path, data: Any) -> list[tuple[str, int, int]]:
    told: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    trial = quiet(data, batch=4)
    sweep_file(model, make_recipe({}), ["magnitude"], [0.2, 0.4], trial, None, progress)
    return told


def test_progress_is_told_batch_by_batch(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    first = "running 2 points"
    assert told_by(model, steps()) == [
        ("running the dense model", 4, 10),
        ("running the dense model", 8, 10),
        ("running the dense model", 10, 10),
        (first, 400, 2000),
        (first, 800, 2000),
        (first, 1000, 2000),
        (first, 1400, 2000),
        (first, 1800, 2000),
        (first, 2000, 2000),
    ]


def test_progress_on_the_samples_of_a_function_is_known_from_the_second_time(
    tmp_path: Path,
) -> None:
    def parts() -> Iterator[Arrays]:
        yield steps()

    told = told_by(staircase(tmp_path / "m.onnx"), parts)
    assert told[:3] == [("running the dense model", done, 0) for done in (4, 8, 10)]
    assert [done for _, done, _ in told[3:]] == [400, 800, 1000, 1400, 1800, 2000]


def test_the_order_of_methods_changes_no_figure(digits: Path) -> None:
    data = digits.parents[2] / "calibration" / "digits_test.npz"
    trial = quiet(data, limit=50)
    one = sweep(digits, trial, ["lamp", "erk"], [0.5, 0.9])
    other = sweep(digits, trial, ["erk", "lamp"], [0.9, 0.5])
    for point in one.points:
        same = other.point(point.method, point.sparsity)
        assert same is not None
        assert same.measured == point.measured
