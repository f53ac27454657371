"""The commands as Python functions: the same options, numbers and errors."""

import inspect
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import onnxprune
from onnxprune.cli.commands import command
from onnxprune.cli.groups import Limits, Run, Set
from onnxprune.errors import InputError, LimitError, OutputError, TargetError, UsageError
from onnxprune.report.as_json import to_dict
from onnxprune.samples.reading import Reading
from onnxprune.trials.gate import Gate
from onnxprune.trials.trial import Trial
from onnxprune.types import Recipe, Report
from tests.conftest import Ran

Start = Callable[..., Ran]


def test_every_public_name_is_there_and_no_other() -> None:
    for name in onnxprune.__all__:
        assert getattr(onnxprune, name) is not None
    assert callable(onnxprune.methods)
    assert callable(onnxprune.allocation)
    with pytest.raises(AttributeError, match="module 'onnxprune' has no attribute 'nothing'"):
        _ = onnxprune.nothing


def test_the_function_has_the_options_of_the_command() -> None:
    parameters = inspect.signature(onnxprune.prune).parameters
    settings = {"model", "output", "force", "dry_run", "verify", "compressed_size"}
    assert parameters.keys() == {
        *(field.name for field in fields(Recipe)),
        *settings,
        *("allow_hardlinks", "check", "keep_failed", "data", "checkpoint", "trust_model"),
        *("timeout", "memory_limit", "max_amplification"),
        "storage",
    }
    options = {option.name for option in command.commands["prune"].params}
    # What is only printed has no place in a function's options, and a trial has its own.
    ours = {field.name for group in (Set, Run, Limits) for field in fields(group)}
    ours -= {"data", "timeout"}
    assert parameters.keys() - {"verify"} == options - ours - {
        *("recipe", "as_json", "report", "quiet", "no_verify", "magnitude_penalty")
    }


def test_the_twin_of_densify_has_its_options() -> None:
    parameters = inspect.signature(onnxprune.densify).parameters
    options = {option.name for option in command.commands["densify"].params}
    printed = {"as_json", "report", "quiet", "no_verify", "trust_model"}
    assert parameters.keys() - {"verify"} == options - printed


def test_what_is_written_sparse_is_made_dense_by_a_function(
    digits: Path, tmp_path: Path
) -> None:
    thin, dense = tmp_path / "thin.onnx", tmp_path / "dense.onnx"
    pruned = onnxprune.prune(digits, 0.9, output=thin, storage="sparse", verify=False)
    assert pruned.storage is not None
    assert (pruned.storage.form, pruned.storage.tensors) == ("sparse", 1)
    assert onnxprune.inspect(thin, verify=False).storage == replace(pruned.storage, stay=())
    report = onnxprune.densify(str(thin), dense, verify=False)
    assert (report.zeros, report.files) == (pruned.zeros, (str(dense),))
    with pytest.raises(UsageError, match="--storage takes dense or sparse, not 'thin'"):
        onnxprune.prune(digits, 0.9, output=thin, storage="thin", force=True)


def test_a_trial_takes_what_the_options_say() -> None:
    named = {field.name for group in (Set, Run, Limits) for field in fields(group)}
    known = {field.name for kind in (Trial, Reading, Gate) for field in fields(kind)}
    spelled = {"samples": "limit", "shape": "shapes", "no_latency": "latency", "metric": "own"}
    assert {spelled.get(name, name) for name in named} == known - {"reading", "gate", "seed"}


def test_a_default_of_the_function_is_that_of_the_recipe() -> None:
    default = Recipe()
    parameters = inspect.signature(onnxprune.prune).parameters
    for field in fields(Recipe):
        value = parameters[field.name].default
        assert value in (None, getattr(default, field.name)), field.name


@pytest.mark.parametrize("spelled", [0.9, "0.9", "90%", np.float64(0.9), np.float32(0.9)])
def test_the_function_reports_what_the_command_prints(
    spelled: float | str, run: Start, digits: Path
) -> None:
    report = onnxprune.prune(digits, spelled, dry_run=True, verify=False)
    assert isinstance(report, Report)
    printed = json.loads(run(digits, "-s", "0.9", "--dry-run", "--json", "--no-verify").out)
    found = json.loads(json.dumps(to_dict(report)))
    assert found | {"seconds": 0} == printed | {"seconds": 0}
    assert report.zeros == report.mask_zeros == 64_411


def test_paths_may_be_strings_and_all_options_are_heard(digits: Path, tmp_path: Path) -> None:
    report = onnxprune.prune(
        str(digits),
        0.5,
        "random",
        allocation="min_threshold",
        output=str(tmp_path / "o.onnx"),
        include=["conv*", "fc*"],
        exclude=("fc2*",),
        layer={"conv1*": 0.25},
        max_layer_sparsity=0.9,
        min_kept=20,
        min_size=100,
        seed=3,
        options={"sigma": 64},
        verify=False,
        compressed_size=True,
    )
    assert report.output == str(tmp_path / "o.onnx")
    assert [tensor.weight.path for tensor in report.tensors] == [
        f"{name}.weight" for name in ("conv1", "conv2", "fc1")
    ]
    assert report.tensors[0].mask_zeros == 36
    assert report.recipe == Recipe(
        sparsity=0.5,
        method="random",
        allocation="min_threshold",
        options={"sigma": 64},
        include=("conv*", "fc*"),
        exclude=("fc2*",),
        layer={"conv1*": 0.25},
        max_layer_sparsity=0.9,
        min_kept=20,
        min_size=100,
        seed=3,
    )
    assert report.verified == "not verified"
    assert not report.sizes.estimated


def test_an_inspection_counts_without_changing(digits: Path) -> None:
    before = digits.read_bytes()
    report = onnxprune.inspect(digits, verify=False, compressed_size=True)
    assert (report.size, report.zeros, report.output, report.recipe) == (71_568, 0, None, None)
    assert digits.read_bytes() == before


def test_errors_are_raised_with_their_file_and_sentence(digits: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.onnx"
    with pytest.raises(UsageError, match=r"did you mean|lies in \[0, 1\), got 90"):
        onnxprune.prune(digits, 90, output=output)
    with pytest.raises(InputError, match=r"none\.onnx: no such file") as refused:
        onnxprune.prune(tmp_path / "none.onnx", 0.5, output=output)
    assert str(refused.value) == refused.value.message
    with pytest.raises(TargetError, match="the caps on tensors"):
        onnxprune.prune(digits, 0.9, max_layer_sparsity=0.5, output=output, verify=False)
    with pytest.raises(OutputError, match="there is no folder"):
        onnxprune.prune(digits, 0.9, output=tmp_path / "no" / "o.onnx", verify=False)
    with pytest.raises(UsageError, match="how much should go"):
        onnxprune.prune(digits, output=output, verify=False)
    with pytest.raises(UsageError, match="--include takes globs, not 3"):
        onnxprune.prune(digits, 0.5, include=3, output=output)  # type: ignore[arg-type]
    with pytest.raises(onnxprune.OnnxpruneError):
        onnxprune.inspect(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_methods_are_listed_with_what_they_need() -> None:
    listed = {info.name: info for info in onnxprune.methods()}
    assert listed["random"].needs == ("rng",)
    assert listed["erk"].options == {"power": 1.0}
    assert listed["min_threshold"].aliases == ("mt",)
    assert listed["lamp"].paper == "Lee et al. 2021, arXiv:2010.07611"
    assert {info.kind for info in listed.values()} == {"method", "allocation"}
    assert [info.kind for info in onnxprune.methods()] == sorted(
        info.kind for info in onnxprune.methods()
    )


def test_masks_of_arrays_come_back_from_the_public_module(
    digits: Path, tmp_path: Path
) -> None:
    onnxprune.prune(digits, 0.5, output=tmp_path / "o.onnx", verify=False)
    onnxprune.masks.export(tmp_path / "o.onnx", tmp_path / "m.npz")
    masks = onnxprune.masks.load(tmp_path / "m.npz")
    assert sum(int(mask.sum()) for mask in masks.values()) == 71_568 // 2


def test_limits_hold_for_one_call_or_for_a_while(digits: Path, tmp_path: Path) -> None:
    told = r"onnx.checker took more than 0\.001 s on this model"
    with pytest.raises(LimitError, match=told):
        onnxprune.inspect(digits, timeout=0.001)
    with onnxprune.limiting(timeout=0.001):
        with pytest.raises(LimitError, match=told):
            onnxprune.prune(digits, 0.5, output=tmp_path / "o.onnx")
        report = onnxprune.inspect(digits, timeout=60, memory_limit="4G")
        assert report.verified == "onnx.checker accepts it"
    with pytest.raises(UsageError, match="--memory-limit is a size such as 16G"):
        onnxprune.prune(digits, 0.5, output=tmp_path / "o.onnx", memory_limit="all")
    with pytest.raises(UsageError, match="--max-amplification is a number of at least 1"):
        onnxprune.inspect(digits, max_amplification=0)
    assert list(tmp_path.iterdir()) == []
    assert onnxprune.inspect(digits).verified == "onnx.checker accepts it"
