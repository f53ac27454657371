"""The commands that run models, as Python functions: arrays, functions and paths as samples."""

import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxprune
from onnxprune import studying
from onnxprune.cli.commands import command
from onnxprune.cli.groups import Choice
from onnxprune.errors import GateFailed, InputError, OutputError, TargetError, UsageError
from onnxprune.outcomes import Accuracy, CheckReport
from onnxprune.points import Study
from onnxprune.samples.reading import Reading
from onnxprune.studying import check, search, sensitivity, sweep
from onnxprune.trials.trial import GATE, Trial
from onnxprune.types import Found, Recipe
from tests.trials.made import Arrays, branches, needing, quiet, staircase, steps, stored

LIMIT = {"max_drop": 0.4}


def yielding() -> Iterator[Arrays]:
    yield steps()


SOURCES: dict[str, Callable[[Path], Any]] = {
    "arrays": lambda _: steps(),
    "lists": lambda _: {name: array.tolist() for name, array in steps().items()},
    "function": lambda _: yielding,
    "path": lambda folder: stored(folder / "set.npz", steps()),
    "text": lambda folder: str(stored(folder / "set.npz", steps())),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return staircase(tmp_path / "m.onnx")


def test_every_public_function_can_be_called_again_and_again() -> None:
    # A folder of the package would hide a function of the same name once it is imported.
    for _ in range(2):
        for name in ("trial", "check", "sweep", "search", "sensitivity"):
            assert getattr(onnxprune, name) is getattr(studying, name)


@pytest.mark.parametrize("source", SOURCES)
def test_samples_may_be_arrays_functions_or_paths(
    source: str, model: Path, tmp_path: Path
) -> None:
    data = SOURCES[source](tmp_path)
    given = {"cast": True} if source == "lists" else {}
    trial = quiet(data, **given, **LIMIT)
    report = onnxprune.prune(model, 0.3, "magnitude", check=trial, verify=False)
    assert report.output is not None
    assert report.check is not None
    assert report.check.measured.accuracy == Accuracy(10, 10, 7, 3, 0)
    checked = check(str(model), report.output, trial)
    assert isinstance(checked, CheckReport)
    assert checked.result.measured == report.check.measured
    study = sweep(str(model), trial, ["magnitude"], [0.3, "40%"])
    assert isinstance(study, Study)
    assert study.points[0].measured == report.check.measured
    assert sensitivity(model, trial, ["0.3"]).points[0].measured == report.check.measured


def test_a_search_writes_the_model_that_pruning_at_what_it_found_does(
    model: Path, tmp_path: Path
) -> None:
    output, plain = tmp_path / "o.onnx", tmp_path / "p.onnx"
    found = search(
        model, quiet(steps(), **LIMIT), resolution=0.1, method="random", output=output
    )
    assert isinstance(found, Found)
    assert found.search.setting == 0.4
    onnxprune.prune(model, found.search.setting, "random", output=plain, verify=False)
    assert output.read_bytes() == plain.read_bytes()
    assert found.report.output == str(output)
    assert found.report.check == found.search.result
    assert found.report.recipe == Recipe(sparsity=0.4, method="random")
    again = check(model, output, quiet(steps(), **LIMIT))
    assert again.result == replace(found.search.result, warnings=again.result.warnings)


def test_a_search_over_the_weights_to_keep_writes_the_model_too(tmp_path: Path) -> None:
    model = branches(tmp_path / "m.onnx", 10, 30, scale=1 / 64)
    data = needing(list(range(10)), [], (10, 30))
    found = search(model, quiet(data), over="min-kept", method="global", sparsity=0.25)
    assert found.search.setting == 10
    plain = tmp_path / "p.onnx"
    onnxprune.prune(model, 0.25, "global", min_kept=10, output=plain, verify=False)
    assert (tmp_path / "m.pruned.onnx").read_bytes() == plain.read_bytes()


def test_nothing_is_searched_where_the_output_could_not_be_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("searched")

    monkeypatch.setattr(studying, "search_sparsity", never)
    trial = quiet(steps(), **LIMIT)
    (tmp_path / "m.pruned.onnx").write_bytes(b"old")
    with pytest.raises(UsageError, match=r"m\.pruned\.onnx exists"):
        search(model, trial)
    with pytest.raises(UsageError, match=r"the output is the input file m\.onnx"):
        search(model, trial, output=model, force=True)
    with pytest.raises(OutputError, match="there is no folder"):
        search(model, trial, output=tmp_path / "no" / "o.onnx")
    with pytest.raises(UsageError, match="--over is sparsity or min-kept, not 'seed'"):
        search(model, trial, over="seed", force=True)
    with pytest.raises(InputError) as caught:
        search(tmp_path / "none.onnx", trial)
    assert caught.value.message == f"{tmp_path / 'none.onnx'}: no such file"
    assert (tmp_path / "m.pruned.onnx").read_bytes() == b"old"


def test_a_search_that_finds_nothing_leaves_nothing(model: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"already sparsity 0\.1 is over the budget"):
        search(model, quiet(steps(), max_drop=0.01), resolution=0.1)
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_a_failed_gate_raises_with_its_report(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.onnx"
    onnxprune.prune(model, 0.5, "magnitude", output=output, verify=False)
    with pytest.raises(GateFailed) as caught:
        check(model, output, quiet(steps(), **LIMIT))
    assert isinstance(caught.value.report, CheckReport)
    assert caught.value.exit_code == 10
    with pytest.raises(GateFailed) as caught:
        trial = quiet(steps(), **LIMIT)
        onnxprune.prune(model, 0.5, "magnitude", check=trial, dry_run=True, verify=False)
    assert isinstance(caught.value.report, onnxprune.Report)


def test_a_trial_serves_many_calls(model: Path) -> None:
    trial = quiet(steps())
    first = sweep(model, trial, ["magnitude"], [0.2])
    second = sweep(model, trial, ["magnitude"], [0.2])
    assert first.points[0].measured == second.points[0].measured


@pytest.mark.parametrize("data", [{"x": 3}, {"x": [[1, "a"], []]}, {}, {"x": [object()]}])
def test_arrays_that_are_none_are_bad_input(data: dict[str, Any], model: Path) -> None:
    with pytest.raises(onnxprune.OnnxpruneError):
        check(model, model, quiet(data))


def test_a_function_that_yields_nothing_is_bad_input(model: Path) -> None:
    with pytest.raises(InputError, match="the set has no samples"):
        check(model, model, quiet(lambda: iter([])))


def test_a_function_of_samples_that_raises_is_wrong_usage(model: Path) -> None:
    def broken() -> Iterator[Arrays]:
        yield steps()
        raise ValueError("out of\nsamples")

    with pytest.raises(UsageError) as caught:
        check(model, model, quiet(broken))
    assert "ValueError: out of" in caught.value.message


def test_every_option_of_the_command_is_one_of_the_function() -> None:
    options = {option.name for option in command.commands["check"].params}
    given = {field.name for field in (*fields(Trial), *fields(Reading))} | GATE.keys()
    # Functions trust by `trusting`, and take no more than `limiting` says.
    printed = {"dense", "pruned", "as_json", "report", "quiet"}
    printed |= {"trust_model", "memory_limit", "max_amplification"}
    renamed = {"samples": "limit", "shape": "shapes", "no_latency": "latency"}
    wanted = {renamed.get(name, name) for name in options - printed}
    assert wanted <= given | {"metric"}


def test_the_functions_have_the_options_of_their_commands() -> None:
    recipe = {field.name for field in (*fields(Recipe), *fields(Choice))}
    shared = {option.name for option in command.commands["check"].params} - {"dense", "pruned"}
    for name, more in {
        "sweep": {"methods", "sparsities"},
        "sensitivity": {"sparsities"},
        "search": {"over", "resolution", "confident", "output", "force"},
    }.items():
        parameters = inspect.signature(getattr(studying, name)).parameters.keys()
        assert parameters == {"model", "trial", "data", "recipe"} | more
        options = {option.name for option in command.commands[name].params}
        files = {
            "model",
            "check",
            "journal",
            "resume",
            "no_verify",
            "compressed_size",
            "allow_hardlinks",
        }
        assert options - recipe - shared - files == more


def test_random_samples_are_the_same_for_every_call(model: Path) -> None:
    one, other = (sweep(model, quiet("random:8"), ["magnitude"], [0.5]) for _ in range(2))
    assert one.points[0].measured == other.points[0].measured
    assert one.data.random
    assert np.isfinite(one.dense)
