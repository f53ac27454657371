"""The gate: what a pruned model has to meet before it is put in place, and what stays."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxprune
from onnxprune.errors import GateFailed, InputError, UsageError
from onnxprune.formats.edits import Edit
from onnxprune.formats.loading import Model
from onnxprune.outcomes import Accuracy
from onnxprune.planning import Plan
from onnxprune.pruning import Decision, Settings, rewrite
from onnxprune.studying import check
from onnxprune.trials.checking import Acceptance
from onnxprune.trials.runner import Runner
from tests.trials.made import (
    branches,
    compared,
    dividing,
    measured,
    quiet,
    staircase,
    steps,
    stored,
)


@pytest.mark.parametrize("data", ["arrays", "function", "file"])
def test_a_gate_on_accuracy_needs_labels(data: str, tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    x = {"x": steps()["x"]}
    sources = {
        "arrays": x,
        "function": lambda: iter([x]),
        "file": stored(tmp_path / "s.npz", x),
    }
    with pytest.raises(UsageError) as caught:
        compared(model, model, sources[data], max_drop=0.5)
    assert caught.value.message == "--max-drop needs labels or --metric; the set has neither"
    found = compared(model, model, sources[data], max_drop=0.5, metric=lambda *_: 1.0)
    assert found.passed


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({"max_drop": 0.3}, True),
        ({"max_drop": "30%"}, True),
        ({"max_drop": 0.29}, False),
        ({"min_accuracy": 0.7}, True),
        ({"min_accuracy": 0.71}, False),
        ({"min_agreement": 0.7}, True),
        ({"min_agreement": 0.71}, False),
        ({"max_kl": 0}, False),
        ({"max_drop": 0.3, "min_agreement": 0.8}, False),
    ],
)
def test_exactly_at_the_limit_passes(
    given: dict[str, float | str], passes: bool, tmp_path: Path
) -> None:
    dense = staircase(tmp_path / "m.onnx")
    pruned = tmp_path / "p.onnx"
    onnxprune.prune(dense, 0.3, "magnitude", output=pruned, verify=False)
    trial = quiet(steps(), **given)
    if passes:
        assert check(dense, pruned, trial).result.passed
        return
    with pytest.raises(GateFailed) as caught:
        check(dense, pruned, trial)
    report = caught.value.report
    assert isinstance(report, onnxprune.CheckReport)
    assert report.result.measured.accuracy == Accuracy(10, 10, 7, 3, 0)
    failed = [each.sentence for each in report.result.conditions if not each.passed]
    assert caught.value.message == "; ".join(failed)


def test_the_sentence_of_a_failed_gate_says_by_how_much(tmp_path: Path) -> None:
    dense = staircase(tmp_path / "m.onnx")
    pruned = tmp_path / "p.onnx"
    onnxprune.prune(dense, 0.3, "magnitude", output=pruned, verify=False)
    with pytest.raises(GateFailed) as caught:
        check(dense, pruned, quiet(steps(), max_drop=0.1, min_agreement=0.9))
    assert caught.value.message == (
        "accuracy fell by 30.00 points (100.00 % -> 70.00 %: 3 of 10),"
        " --max-drop 0.1 allows 10.00;"
        " agreement 70.00 % is below --min-agreement 0.9 by 20.00 points"
    )


def pruning(path: Path, **given: Any) -> onnxprune.Report:
    return onnxprune.prune(path, 0.3, "magnitude", verify=False, **given)


def test_a_pruned_model_is_checked_before_it_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = staircase(tmp_path / "m.onnx")
    output = tmp_path / "o.onnx"
    ran = Runner.run
    there: list[bool] = []

    def looking(self: Runner, key: str, feeds: Any) -> Any:
        there.append(output.exists())
        return ran(self, key, feeds)

    monkeypatch.setattr(Runner, "run", looking)
    report = pruning(model, output=output, check=quiet(steps(), max_drop=0.3))
    assert there
    assert not any(there)
    assert output.exists()
    assert report.check is not None
    assert report.check.measured == measured(model, output, steps())


def test_a_failed_gate_leaves_everything_as_it_was(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    output = tmp_path / "o.onnx"
    failing = quiet(steps(), max_drop=0.2)
    with pytest.raises(GateFailed) as caught:
        pruning(model, output=output, check=failing)
    assert sorted(os.listdir(tmp_path)) == ["m.onnx"]
    report = caught.value.report
    assert isinstance(report, onnxprune.Report)
    assert (report.output, report.files, report.zeros) == (None, (), 3)
    assert report.check is not None
    assert not report.check.passed
    output.write_bytes(b"old")
    with pytest.raises(GateFailed):
        pruning(model, output=output, check=failing, force=True)
    assert output.read_bytes() == b"old"
    with pytest.raises(GateFailed) as caught:
        pruning(model, output=output, check=failing, force=True, keep_failed=True)
    assert isinstance(caught.value.report, onnxprune.Report)
    assert caught.value.report.output == str(output)
    plain = tmp_path / "plain.onnx"
    pruning(model, output=plain)
    assert output.read_bytes() == plain.read_bytes()


def test_a_failed_gate_leaves_no_data_file(tmp_path: Path) -> None:
    model = tmp_path / "in" / "m.onnx"
    model.parent.mkdir()
    proto = onnx.load(staircase(tmp_path / "p.onnx"))
    onnx.save(proto, model, save_as_external_data=True, location="d", size_threshold=0)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(GateFailed):
        pruning(model, output=out / "m.onnx", check=quiet(steps(), max_drop=0.2))
    assert os.listdir(out) == []
    report = pruning(model, output=out / "m.onnx", check=quiet(steps(), max_drop=0.3))
    assert report.check is not None
    assert report.check.measured == measured(model, out / "m.onnx", steps())
    assert sorted(os.listdir(out)) == ["d", "m.onnx"]


def test_an_error_in_the_check_leaves_no_file(tmp_path: Path) -> None:
    model = dividing(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="the pruned model's output 'r' is NaN at sample 0"):
        pruning(model, check=quiet({"x": np.eye(10, dtype=np.float32)}))
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_a_dry_run_measures_what_the_real_run_does(tmp_path: Path) -> None:
    model = branches(tmp_path / "m.onnx", scale=0.25)
    data = {
        "a": np.eye(10, dtype=np.float32),
        "b": np.eye(10, dtype=np.float32)[::-1],
        "labels": np.zeros(10, np.int64),
    }
    dry = onnxprune.prune(model, 0.6, "lamp", check=quiet(data), dry_run=True, verify=False)
    assert os.listdir(tmp_path) == ["m.onnx"]
    real = onnxprune.prune(model, 0.6, "lamp", check=quiet(data), verify=False)
    assert dry.check is not None
    assert dry.check == real.check
    assert dry.tensors == real.tensors
    assert dry.output is None
    with pytest.raises(GateFailed) as caught:
        onnxprune.prune(
            model,
            0.6,
            check=quiet(data, max_kl=0),
            dry_run=True,
            output=tmp_path / "x.onnx",
            verify=False,
        )
    assert isinstance(caught.value.report, onnxprune.Report)
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m.pruned.onnx"]


def test_a_dry_run_measures_new_biases_and_values_too(tmp_path: Path) -> None:
    path = staircase(tmp_path / "m.onnx")
    bias, values = np.array([-0.5]), np.arange(10) / 10

    def decide(model: Model) -> Decision:
        plan = Plan(model.weights, [], zeros={"w": 0})
        return Decision(plan, {"w": Edit(values=values)}, {"w": bias})

    results = []
    for dry in (True, False):
        accept = Acceptance(quiet(steps(), max_drop=0.9))
        settings = Settings(dry_run=dry, accept=accept, verify=False)
        report = rewrite(path, settings, decide)
        results.append((accept.result, report.tensors))
        assert sorted(os.listdir(tmp_path)) == ["m.onnx", *([] if dry else ["m.pruned.onnx"])]
    assert results[0] == results[1]
    found = results[0][0]
    assert found is not None
    # A sum of more than a quarter is right: of 0, 0.1, ... and 0.9, less a half, the last two.
    assert found.measured.accuracy == Accuracy(total=10, dense=10, pruned=2, lost=8, won=0)
