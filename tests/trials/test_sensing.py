"""Sensitivities: each tensor alone, with the figures of files; what allocations make of them."""

import json
from pathlib import Path

import numpy as np
import pytest

import onnxprune
from onnxprune.allocations.curves import Curves
from onnxprune.errors import InputError, TargetError, UsageError
from onnxprune.outcomes import Accuracy
from onnxprune.points import Study
from onnxprune.ratios import read_ratios
from onnxprune.report.forms import write_any
from onnxprune.studying import check, sensitivity, sweep
from onnxprune.trials.sensing import SPARSITIES
from tests import models
from tests.trials.made import branches, measured, needing, quiet, staircase, steps


def accuracies(study: Study) -> dict[str, list[int]]:
    """Return how many samples are lost, by tensor."""
    lost: dict[str, list[int]] = {}
    for point in study.points:
        assert point.measured is not None
        assert point.measured.accuracy is not None
        lost.setdefault(point.method, []).append(point.measured.accuracy.lost)
    return lost


def test_each_tensor_is_pruned_alone(tmp_path: Path) -> None:
    model = branches(tmp_path / "m.onnx")
    # All weights of `v` have a sample, of `w` only the five largest.
    data = needing(list(range(10)), list(range(5, 10)))
    study = sensitivity(model, quiet(data), [0.9, 0.5, 0.2, 0.5])
    assert [(point.method, point.sparsity) for point in study.points] == [
        (name, sparsity) for name in ("v", "w") for sparsity in (0.2, 0.5, 0.9)
    ]
    assert accuracies(study) == {"v": [2, 5, 9], "w": [0, 0, 4]}
    assert [(point.zeros, point.size) for point in study.points] == 2 * [
        (2, 10),
        (5, 10),
        (9, 10),
    ]
    assert (study.kind, study.measure, study.dense) == ("sensitivity", "accuracy", 1.0)


@pytest.mark.parametrize("method", ["magnitude", "random"])
def test_each_point_has_the_figures_of_a_file_with_that_tensor_pruned(
    method: str, digits: Path, tmp_path: Path
) -> None:
    trial = quiet(digits.parents[2] / "calibration" / "digits_test.npz", limit=100)
    study = sensitivity(digits, trial, [0.8], method=method, seed=3)
    assert [point.method for point in study.points] == [
        f"{name}.weight" for name in ("conv1", "conv2", "fc1", "fc2")
    ]
    for number, point in enumerate(study.points):
        output = tmp_path / f"{number}.onnx"
        report = onnxprune.prune(
            digits,
            0.8,
            method,
            include=[point.method],
            output=output,
            seed=3,
            verify=False,
        )
        assert report.mask_zeros == point.zeros
        assert point.measured == check(digits, output, trial).result.measured


def test_the_recipe_chooses_the_tensors(tmp_path: Path) -> None:
    model = branches(tmp_path / "m.onnx", 10, 20)
    trial = quiet(needing([1], [2], (10, 20)))
    assert sensitivity(model, trial, [0.5], include=["w"]).methods == ("w",)
    assert sensitivity(model, trial, [0.5], exclude=["w"]).methods == ("v",)
    both = sensitivity(model, trial, [0.5], include=["v", "w"], layer={"v": 0.9})
    assert [(point.method, point.zeros) for point in both.points] == [("v", 5), ("w", 10)]
    assert sensitivity(model, trial, [0.5], min_size=15).methods == ("w",)
    with pytest.raises(UsageError, match="--include 'nope' matches no prunable tensor"):
        sensitivity(model, trial, [0.5], include=["nope"])
    with pytest.raises(TargetError, match="nothing to prune: no prunable weight is selected"):
        sensitivity(model, trial, [0.5], exclude=["*"])


def test_the_default_sparsities_are_those_of_the_command(tmp_path: Path) -> None:
    study = sensitivity(staircase(tmp_path / "m.onnx"), quiet(steps()))
    assert study.sparsities == SPARSITIES
    with pytest.raises(UsageError, match="--sparsities names none"):
        sensitivity(staircase(tmp_path / "m.onnx"), quiet(steps()), [])


def test_a_tensor_that_gives_no_numbers_says_so_and_the_others_go_on(tmp_path: Path) -> None:
    nodes = [
        models.node("MatMul a v -> s"),
        models.node("Div s s -> r"),
        models.node("MatMul b w -> t"),
        models.node("Add r t -> y"),
    ]
    weights = [models.constant("v", [[1.0], [2.0]]), models.constant("w", [[1.0], [2.0]])]
    proto = models.model(nodes, {"a": ["n", 2], "b": ["n", 2]}, "y", weights)
    model = models.save(tmp_path / "m.onnx", proto)
    ones = np.eye(2, dtype="f4")
    study = sensitivity(model, quiet({"a": ones, "b": ones}), [0.5])
    assert [point.failure for point in study.points] == [
        "the pruned model's output 'y' is NaN at sample 0",
        None,
    ]


def written(study: Study, path: Path) -> Path:
    write_any(study, path)
    return path


def test_an_allocation_takes_more_from_what_bears_more(tmp_path: Path) -> None:
    model = branches(tmp_path / "m.onnx")
    trial = quiet(needing(list(range(10)), list(range(5, 10))))
    study = sensitivity(model, trial, [0.1 * step for step in range(1, 10)])
    ratios = read_ratios(written(study, tmp_path / "s.json"))
    assert isinstance(ratios, Curves)
    asked = f"from:{tmp_path / 's.json'}"
    for total in range(19):
        report = onnxprune.prune(
            model, total / 20, allocation=asked, dry_run=True, verify=False
        )
        zeros = {tensor.weight.path: tensor.mask_zeros for tensor in report.tensors}
        assert sum(zeros.values()) == total
        assert zeros["w"] >= zeros["v"]
        if total <= 5:
            assert zeros["v"] == 0
    gentle = onnxprune.prune(
        model, 0.3, allocation=asked, check=trial, output=tmp_path / "o.onnx", verify=False
    )
    plain = onnxprune.prune(
        model, 0.3, "magnitude", check=trial, output=tmp_path / "p.onnx", verify=False
    )
    assert gentle.check is not None
    assert plain.check is not None
    lost = [each.check.measured.accuracy for each in (gentle, plain) if each.check]
    assert lost == [Accuracy(15, 15, 14, 1, 0), Accuracy(15, 15, 12, 3, 0)]


def test_totals_on_the_shipped_model_are_exact(digits: Path, tmp_path: Path) -> None:
    trial = quiet(digits.parents[2] / "calibration" / "digits_test.npz", limit=100)
    file = written(sensitivity(digits, trial), tmp_path / "s.json")
    for sparsity in (0.0, 0.123, 0.5, 0.9, 0.9876, 0.999):
        report = onnxprune.prune(
            digits, sparsity, allocation=f"from:{file}", dry_run=True, verify=False
        )
        assert report.mask_zeros == round(sparsity * 71_568)
    label = f"magnitude+from:{file}"
    (point,) = sweep(digits, trial, [label], [0.9]).points
    output = tmp_path / "o.onnx"
    onnxprune.prune(digits, 0.9, allocation=f"from:{file}", output=output, verify=False)
    assert point.measured == measured(
        digits, output, digits.parents[2] / "calibration" / "digits_test.npz", limit=100
    )


def test_a_sensitivity_does_not_say_how_much_goes(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    file = written(sensitivity(model, quiet(steps())), tmp_path / "s.json")
    with pytest.raises(UsageError) as caught:
        onnxprune.prune(model, allocation=f"from:{file}", verify=False)
    assert caught.value.message == "a sensitivity does not say how much goes in all"
    assert caught.value.hint == "--sparsity does"


def test_a_sweep_has_no_costs_of_tensors(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    file = written(sweep(model, quiet(steps())), tmp_path / "s.json")
    with pytest.raises(InputError) as caught:
        read_ratios(file)
    assert caught.value.message == f"{file}: a sweep has no costs of single tensors"
    assert json.loads(file.read_text())["kind"] == "sweep"
