"""Masks and ratios of one model on another: exact where nothing changes, scaled else."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxprune
from onnxprune.masks import load, write
from onnxprune.ratios import read_ratios
from tests import models
from tests.conftest import Ran
from tests.reference import Layer, from_ratios
from tests.reference_weights import onnx_values

Run = Callable[..., Ran]
SOURCES = ("model", "report", "masks")
TOTAL = 71_568


@pytest.fixture
def sources(digits: Path, tmp_path: Path, run: Run) -> dict[str, Path]:
    """A model pruned with ERK at 0.8, its report and its masks."""
    made = {"model": "p.onnx", "report": "r.json", "masks": "m.npz"}
    paths = {name: tmp_path / file for name, file in made.items()}
    words = ["-s", "0.8", "-m", "erk", "-o", paths["model"], "--report", paths["report"]]
    assert run(digits, *words, "-q", "--no-verify").code == 0
    assert run("mask", "export", paths["model"], "-o", paths["masks"], "-q").code == 0
    return paths


def counts_of(path: Path) -> dict[str, int]:
    values = onnx_values(path)
    return {name: int(np.count_nonzero(values[name] == 0)) for name in load(path)}


def zeros_of(ran: Ran) -> dict[str, int]:
    assert ran.code == 0, ran.err
    return {tensor["name"]: tensor["zeros"] for tensor in json.loads(ran.out)["tensors"]}


@pytest.mark.parametrize("method", [None, "random", "magnitude"])
@pytest.mark.parametrize("source", SOURCES)
def test_without_a_sparsity_the_counts_are_those_of_the_source(
    source: str, method: str | None, run: Run, digits: Path, sources: dict[str, Path]
) -> None:
    words = ["--allocation", f"from:{sources[source]}", "--dry-run", "--no-verify", "--json"]
    words += ["-m", method] if method else []
    assert zeros_of(run(digits, *words)) == counts_of(sources["model"])


def test_ratios_with_magnitudes_give_the_same_model_again(
    digits: Path, sources: dict[str, Path], tmp_path: Path
) -> None:
    output = tmp_path / "again.onnx"
    asked = f"from:{sources['masks']}"
    report = onnxprune.prune(digits, allocation=asked, output=output, verify=False)
    assert output.read_bytes() == sources["model"].read_bytes()
    assert report.recipe is not None
    assert (report.recipe.method, report.recipe.sparsity) == ("magnitude", None)


def test_random_weights_go_at_the_ratios_of_another_model(
    digits: Path, sources: dict[str, Path], tmp_path: Path
) -> None:
    output = tmp_path / "random.onnx"
    asked = f"from:{sources['report']}"
    onnxprune.prune(digits, method="random", allocation=asked, output=output, verify=False)
    assert counts_of(output) == counts_of(sources["model"])
    one, other = load(output), load(sources["model"])
    assert not np.array_equal(one["fc1.weight"], other["fc1.weight"])


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.8, 0.9, 0.98])
@pytest.mark.parametrize("source", SOURCES)
def test_with_a_sparsity_the_ratios_are_scaled(
    source: str, sparsity: float, run: Run, digits: Path, sources: dict[str, Path]
) -> None:
    words = ["-s", sparsity, "--dry-run", "--no-verify", "--json"]
    found = zeros_of(run(digits, "--allocation", f"from:{sources[source]}", *words))
    ratios = read_ratios(sources[source])
    values = onnx_values(digits)
    layers = [Layer(name, np.abs(values[name]), 1, 1) for name in ratios]
    wanted = from_ratios(layers, round(sparsity * TOTAL), ratios)
    assert found == {
        layer.name: int((~mask).sum()) for layer, mask in zip(layers, wanted, strict=True)
    }
    assert sum(found.values()) == round(sparsity * TOTAL)


def test_ratios_of_another_model_must_cover_every_tensor(
    run: Run, digits: Path, tmp_path: Path
) -> None:
    write(tmp_path / "m.npz", [("fc1.weight", np.zeros(4, bool))], "")
    words = [
        "--allocation",
        f"from:{tmp_path / 'm.npz'}",
        "--dry-run",
        "--no-verify",
        "--json",
    ]
    ran = run(digits, "-s", "0.5", *words)
    assert (ran.code, ran.out) == (2, "")
    assert "the file of ratios says nothing of 'conv1.weight' and 2 more" in ran.err
    assert zeros_of(run(digits, "--include", "fc1*", *words)) == {"fc1.weight": 65536}


def test_ratios_of_nothing_cannot_be_scaled(run: Run, digits: Path) -> None:
    words = ["--allocation", f"from:{digits}", "--dry-run", "--no-verify"]
    ran = run(digits, "-s", "0.5", *words)
    assert (ran.code, ran.out) == (7, "")
    assert "the largest feasible sparsity is 0.0000" in ran.err
    assert run(digits, *words).code == 0


def matmul(path: Path, *names: str, shape: tuple[int, int] = (4, 3)) -> Path:
    nodes = [models.node(f"MatMul x {name} -> {name}_y") for name in names]
    values = np.arange(1, shape[0] * shape[1] + 1, dtype="f4").reshape(shape)
    weights = [numpy_helper.from_array(values, name) for name in names]
    outputs = " ".join(f"{name}_y" for name in names)
    return models.save(path, models.model(nodes, {"x": [1, shape[0]]}, outputs, weights))


def test_a_mask_zeroes_just_what_it_does_not_keep(run: Run, tmp_path: Path) -> None:
    model = matmul(tmp_path / "m.onnx", "w", "v")
    kept = np.arange(12).reshape(4, 3) % 3 > 0
    write(tmp_path / "m.npz", [("w", kept)], "")
    ran = run("mask", "apply", model, tmp_path / "m.npz", "--no-verify", "--json")
    found = json.loads(ran.out)
    after = onnx_values(tmp_path / "m.pruned.onnx")
    np.testing.assert_array_equal(after["w"], np.where(kept, onnx_values(model)["w"], 0))
    np.testing.assert_array_equal(after["v"], onnx_values(model)["v"])
    assert [(one["name"], one["zeros"]) for one in found["tensors"]] == [("w", 4)]
    assert found["skipped"] == [{"name": "v", "reason": "no mask for it", "size": 12}]
    assert found["recipe"] is None


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("u", (4, 3), "no prunable tensor 'u', which"),
        ("w", (3, 4), "'w' has shape [4, 3], its mask [3, 4]"),
        ("w", (12,), "'w' has shape [4, 3], its mask [12]"),
    ],
)
def test_a_mask_of_another_model_does_not_apply(
    name: str, shape: tuple[int, ...], message: str, run: Run, tmp_path: Path
) -> None:
    model = matmul(tmp_path / "m.onnx", "w")
    write(tmp_path / "m.npz", [(name, np.ones(shape, bool))], "")
    ran = run("mask", "apply", model, tmp_path / "m.npz", "--no-verify")
    assert (ran.code, ran.out) == (3, "")
    assert message in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.npz", "m.onnx"]


def test_a_dry_application_writes_nothing(
    run: Run, digits: Path, sources: dict[str, Path]
) -> None:
    before = sorted(path.name for path in sources["model"].parent.iterdir())
    words = ["--dry-run", "--no-verify", "--json"]
    found = zeros_of(run("mask", "apply", digits, sources["masks"], *words))
    assert found == counts_of(sources["model"])
    assert sorted(path.name for path in sources["model"].parent.iterdir()) == before


def test_no_output_replaces_the_file_that_masks_or_ratios_come_from(
    run: Run, digits: Path, sources: dict[str, Path]
) -> None:
    for source in SOURCES:
        file = sources[source]
        before = file.read_bytes()
        words = ["-o", file, "--force", "--no-verify"]
        by_ratio = run(digits, "--allocation", f"from:{file}", *words)
        assert (by_ratio.code, by_ratio.out) == (2, "")
        assert f"the output is the input file {file.name}; name another" in by_ratio.err
        if source != "report":
            applied = run("mask", "apply", digits, file, *words)
            assert (applied.code, applied.err) == (2, by_ratio.err)
        assert file.read_bytes() == before


def test_masks_of_one_checkpoint_zero_the_same_weights_of_another(
    run: Run, digits: Path, sources: dict[str, Path], tmp_path: Path
) -> None:
    twice = onnx.load(digits)
    for tensor in twice.graph.initializer:
        tensor.CopyFrom(
            numpy_helper.from_array(2 * numpy_helper.to_array(tensor), tensor.name)
        )
    checkpoint = models.save(tmp_path / "twice.onnx", twice)
    words = [sources["masks"], "-o", tmp_path / "x.onnx", "-q", "--no-verify"]
    assert run("mask", "apply", checkpoint, *words) == (0, "", "")
    after, before = onnx_values(tmp_path / "x.onnx"), onnx_values(sources["model"])
    assert after.keys() == before.keys()
    for name in load(digits):
        np.testing.assert_array_equal(after[name], 2 * before[name])


def test_a_file_of_masks_or_ratios_that_is_not_there_is_bad_input(
    run: Run, digits: Path, tmp_path: Path
) -> None:
    none, output = tmp_path / "none.npz", tmp_path / "x.onnx"
    for words in ([digits, "--allocation", f"from:{none}"], ["mask", "apply", digits, none]):
        ran = run(*words, "-o", output)
        assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)
        assert f"{none}: no such file" in ran.err
    assert not list(tmp_path.iterdir())


def test_the_json_of_an_applied_mask_says_how_much_the_mask_removes(
    run: Callable[..., Ran], digits: Path, tmp_path: Path
) -> None:
    pruned, output = tmp_path / "pruned.onnx", tmp_path / "out.onnx"
    assert run(digits, "-s", "0.75", "-o", pruned, "-q", "--no-verify").code == 0
    applied = run("mask", "apply", digits, pruned, "-o", output, "--json", "--no-verify")
    assert json.loads(applied.out)["sparsity"]["mask"] == pytest.approx(0.75)
