"""What `onnxprune MODEL` writes and reports, counted again with the onnx package."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.version import __version__
from tests.conftest import Ran
from tests.reference_weights import onnx_values

Run = Callable[..., Ran]
WEIGHTS = {"conv1.weight": 144, "conv2.weight": 4608, "fc1.weight": 65536, "fc2.weight": 1280}
TOTAL = 71_568
REPORT = {
    *("schema", "version", "model", "sha256", "output", "files", "recipe", "sparsity"),
    *("tensors", "skipped", "parameters", "bytes", "warnings", "verified", "calibration"),
    *("pattern", "recovery", "check", "seconds", "storage", "removal"),
}
TENSOR = {
    *("name", "op", "node", "shape", "dtype", "size", "zeros_before", "zeros", "mask_zeros"),
    *("sparsity", "norm_change", "macs", "sparse_macs"),
}
BYTES = {"before", "after", "compressed_before", "compressed_after", "estimated"}
RECIPE = {
    *("sparsity", "method", "allocation", "options", "include", "exclude", "layer"),
    *("max_layer_sparsity", "min_kept", "min_size", "include_embeddings", "seed"),
    *("steps", "schedule", "batches_per_step", "precision", "loss", "bn", "curvature"),
    *("group", "recover", "epochs", "time_budget", "lr", "optimizer", "augment", "match"),
    *("label_weight", "held_out", "rewind", "pattern", "channel_multiple", "remove"),
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def zeros_of(path: Path) -> dict[str, int]:
    values = onnx_values(path)
    return {name: int(np.count_nonzero(values[name] == 0)) for name in WEIGHTS}


def report_of(ran: Ran) -> dict[str, Any]:
    assert (ran.code, ran.err) == (0, "")
    report: dict[str, Any] = json.loads(ran.out)
    return report


def squeezed(text: str) -> str:
    """Take all space out: long lines fold where they must."""
    return "".join(text.split())


@pytest.fixture
def model(tmp_path: Path, digits: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(digits.read_bytes())
    return path


def test_the_output_lies_beside_the_model_and_the_input_stays(
    run: Run, model: Path, digits: Path
) -> None:
    ran = run(model, "-s", "0.9", "--no-verify")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(os.listdir(model.parent)) == ["m.onnx", "m.pruned.onnx"]
    assert model.read_bytes() == digits.read_bytes()
    assert sum(zeros_of(model.with_name("m.pruned.onnx")).values()) == round(0.9 * TOTAL)
    assert squeezed(f"wrote {model.with_name('m.pruned.onnx')} in") in squeezed(ran.out)


def test_a_model_without_suffix_gets_one(run: Run, model: Path) -> None:
    model.rename(model.with_name("m"))
    assert run(model.with_name("m"), "-s", "0.5", "-q", "--no-verify").code == 0
    assert (model.parent / "m.pruned.onnx").exists()


def test_the_json_has_exactly_the_documented_keys(run: Run, model: Path) -> None:
    report = report_of(run(model, "-s", "0.9", "--json"))
    assert report.keys() == REPORT
    assert report["sparsity"].keys() == {"asked", "mask", "prunable", "all"}
    assert report["bytes"].keys() == BYTES
    assert report["recipe"].keys() == RECIPE
    assert all(tensor.keys() == TENSOR for tensor in report["tensors"])
    assert all(skip.keys() == {"name", "reason", "size"} for skip in report["skipped"])
    assert (report["schema"], report["version"]) == (1, __version__)
    assert report["check"] is None
    assert report["verified"] == "onnx.checker accepts it"


def test_the_json_is_true(run: Run, model: Path) -> None:
    output = model.with_name("out.onnx")
    report = report_of(run(model, "-s", "0.9", "-o", output, "--json", "--no-verify"))
    zeros = zeros_of(output)
    assert report["model"] == str(model)
    assert report["sha256"] == sha256(model)
    assert report["output"] == str(output)
    assert report["files"] == [str(output)]
    assert {t["name"]: t["zeros"] for t in report["tensors"]} == zeros
    assert {t["name"]: t["mask_zeros"] for t in report["tensors"]} == zeros
    assert {t["name"]: t["size"] for t in report["tensors"]} == WEIGHTS
    assert all(t["sparsity"] == t["zeros"] / t["size"] for t in report["tensors"])
    assert all(t["zeros_before"] == 0 for t in report["tensors"])
    made = round(0.9 * TOTAL) / TOTAL
    everything = report["parameters"]
    assert everything == TOTAL + 16 + 32 + 128 + 10
    asked = {"asked": 0.9, "mask": made, "prunable": made, "all": made * TOTAL / everything}
    assert report["sparsity"] == pytest.approx(asked)
    assert report["bytes"]["before"] == model.stat().st_size == report["bytes"]["after"]
    assert 0 < report["bytes"]["compressed_after"] < report["bytes"]["compressed_before"] / 5
    assert {skip["name"]: skip["reason"] for skip in report["skipped"]} == {
        f"{layer}.bias": "bias" for layer in ("conv1", "conv2", "fc1", "fc2")
    }


def test_the_json_says_how_much_of_each_tensor_s_norm_went(run: Run, model: Path) -> None:
    output = model.with_name("out.onnx")
    report = report_of(run(model, "-s", "0.9", "-o", output, "--json", "--no-verify"))
    before, after = onnx_values(model), onnx_values(output)
    for tensor in report["tensors"]:
        dense, sparse = before[tensor["name"]], after[tensor["name"]]
        change = np.linalg.norm(dense - sparse) / np.linalg.norm(dense)
        assert tensor["norm_change"] == pytest.approx(change, rel=1e-6)


def test_the_json_counts_the_work_of_each_tensor(run: Run, model: Path) -> None:
    report = report_of(run(model, "-s", "0.9", "--dry-run", "--json"))
    macs = {tensor["name"]: tensor["macs"] for tensor in report["tensors"]}
    # The images are 8x8; the second convolution sees them whole.
    assert macs["conv1.weight"] == 144 * 64
    assert macs["conv2.weight"] == 4608 * 64
    assert macs["fc1.weight"] == 65536
    for tensor in report["tensors"]:
        assert tensor["sparse_macs"] == round(tensor["macs"] * (1 - tensor["sparsity"]))


def test_zeros_that_were_there_are_told_from_the_mask_s(run: Run, model: Path) -> None:
    half = model.with_name("half.onnx")
    assert run(model, "-s", "0.5", "-o", half, "-q", "--no-verify").code == 0
    report = report_of(run(half, "-s", "0.3", "-m", "random", "--json", "--no-verify"))
    zeros = zeros_of(half.with_name("half.pruned.onnx"))
    assert sum(t["mask_zeros"] for t in report["tensors"]) == round(0.3 * TOTAL)
    assert sum(t["zeros_before"] for t in report["tensors"]) == round(0.5 * TOTAL)
    assert {t["name"]: t["zeros"] for t in report["tensors"]} == zeros
    assert round(0.5 * TOTAL) < sum(zeros.values()) < round(0.8 * TOTAL)
    assert report["sparsity"]["mask"] < report["sparsity"]["prunable"]
    ran = run(half, "-s", "0.3", "-m", "random", "--dry-run", "--no-verify")
    assert squeezed("; the mask makes 21,470 of them") in squeezed(ran.out)


def test_a_dry_run_writes_nothing_and_reports_the_same_numbers(run: Run, model: Path) -> None:
    words = [model, "-s", "0.9", "--json", "--no-verify"]
    dry = report_of(run(*words, "--dry-run"))
    assert os.listdir(model.parent) == ["m.onnx"]
    real = report_of(run(*words))
    assert (dry["output"], dry["files"]) == (None, [])
    for key in REPORT - {"output", "files", "bytes", "seconds"}:
        assert dry[key] == real[key], key
    assert dry["bytes"]["after"] is None
    assert dry["bytes"]["before"] == real["bytes"]["before"]


def test_a_dry_run_does_not_mind_what_could_not_be_written(run: Run, model: Path) -> None:
    model.with_name("m.pruned.onnx").write_bytes(b"old")
    assert run(model, "-s", "0.5", "--dry-run", "-q", "--no-verify") == (0, "", "")
    assert run(model, "-s", "0.5", "-o", "/none/x.onnx", "--dry-run", "-q").code == 0


def test_quiet_prints_nothing_but_errors(run: Run, model: Path) -> None:
    assert run(model, "-s", "0.5", "--quiet", "--no-verify") == (0, "", "")
    assert run("inspect", model, "-q", "--no-verify") == (0, "", "")
    again = run(model, "-s", "0.5", "-q")
    assert (again.code, again.out) == (2, "")
    assert "m.pruned.onnx exists; --force replaces it" in again.err


def test_force_replaces_an_existing_output(run: Run, model: Path) -> None:
    output = model.with_name("m.pruned.onnx")
    output.write_bytes(b"old")
    assert run(model, "-s", "0.5", "--force", "-q", "--no-verify").code == 0
    assert sum(zeros_of(output).values()) == TOTAL // 2


@pytest.mark.parametrize(
    ("spelled", "sparsity"),
    [("90%", 0.9), ("0.9", 0.9), (".9", 0.9), ("9e-1", 0.9), ("99.9%", 0.999), ("0", 0.0)],
)
def test_a_sparsity_may_be_spelt_in_several_ways(
    spelled: str, sparsity: float, run: Run, digits: Path
) -> None:
    report = report_of(run(digits, "-s", spelled, "--dry-run", "--json", "--no-verify"))
    assert report["sparsity"]["asked"] == sparsity
    assert sum(tensor["zeros"] for tensor in report["tensors"]) == round(sparsity * TOTAL)


CAPS = {
    "cap": ["--max-layer-sparsity", "0.77"],
    "kept": ["--min-kept", "1000"],
    "layer": ["--layer", "fc1.weight=0.5"],
    "kept in all": ["-m", "min_threshold", "--set", "sigma=1001"],
    "uniform_plus": ["-m", "uniform_plus"],
}


@pytest.mark.parametrize("name", CAPS)
def test_the_feasible_sparsity_that_an_error_names_works(
    name: str, run: Run, digits: Path
) -> None:
    words = [digits, *CAPS[name], "--dry-run", "--no-verify"]
    if name == "layer":
        words += ["--max-layer-sparsity", "0.9"]
    refused = run(*words, "-s", "0.995")
    assert refused.code == 7
    found = re.search(r"the largest feasible sparsity is (0\.\d{4})\n$", refused.err)
    assert found, refused.err
    largest = found[1]
    report = report_of(run(*words, "-s", largest, "--json"))
    assert sum(t["zeros"] for t in report["tensors"]) == round(float(largest) * TOTAL)
    assert run(*words, "-s", f"{float(largest) + 0.0001:.4f}").code == 7


@pytest.mark.parametrize(
    "fixed", ["fc1.weight=0.5", "fc1.weight=0.301", "conv*=0.77", "*=0.4321"]
)
def test_the_least_sparsity_that_an_error_names_works(
    fixed: str, run: Run, digits: Path
) -> None:
    words = [digits, "--layer", fixed, "--dry-run", "--no-verify"]
    refused = run(*words, "-s", "0.0001")
    assert refused.code == 7
    found = re.search(r"the smallest feasible sparsity is (0\.\d{4})\n$", refused.err)
    assert found, refused.err
    least = float(found[1])
    assert run(*words, "-s", f"{least - 0.0001:.4f}").code == 7
    accepted = run(*words, "-s", found[1])
    # Where --layer fixes every tensor no other total can be met.
    assert accepted.code == (7 if fixed.startswith("*") else 0), accepted.err


def test_an_inspection_finds_what_is_there(run: Run, model: Path) -> None:
    assert run(model, "-s", "0.9", "-q", "--no-verify").code == 0
    pruned = model.with_name("m.pruned.onnx")
    report = report_of(run("inspect", pruned, "--json", "--no-verify"))
    assert report.keys() == REPORT
    assert {t["name"]: t["zeros"] for t in report["tensors"]} == zeros_of(pruned)
    assert (report["recipe"], report["output"]) == (None, None)
    assert report["sparsity"]["asked"] is None
    assert report["sparsity"]["prunable"] == round(0.9 * TOTAL) / TOTAL
    assert report["sha256"] == sha256(pruned)


def test_the_methods_are_listed_with_their_papers(run: Run) -> None:
    listed = json.loads(run("methods", "--json").out)
    printed = run("methods")
    assert (printed.code, printed.err) == (0, "")
    assert {"lamp", "global", "erk", "magnitude", "random"} <= {one["name"] for one in listed}
    for one in listed:
        assert re.search(rf"^{one['name']} +{one['kind']} ", printed.out, re.M)
    assert all(len(line) <= 100 for line in printed.out.splitlines())
    assert "arXiv:2010.07611" in printed.out


def test_the_width_of_a_log_can_be_set(
    run: Run, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {}
    for width in (60, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        ran = run(digits, "-s", "0.5", "--dry-run", "--no-verify")
        lines[width] = ran.out.splitlines()
    assert max(map(len, lines[60])) <= 60 < max(map(len, lines[140])) <= 140
    assert "type" in lines[140][0]
    assert "type" not in lines[60][0]


@pytest.fixture(params=[0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_have_the_mode_that_the_umask_gives(run: Run, model: Path, umask: int) -> None:
    report = model.with_name("r.md")
    assert run(model, "-s", "0.5", "-q", "--no-verify", "--report", report).code == 0
    for file in (model.with_name("m.pruned.onnx"), report):
        assert file.stat().st_mode & 0o777 == 0o666 & ~umask
