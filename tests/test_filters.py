"""Whole filters in files: what goes with them, what stays, and what the pruned model computes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxprune
from tests.conftest import Ran
from tests.models import constant, model, node, run, save, weight
from tests.tensors_made import Array

Run = Callable[..., Ran]
NORM = [weight(name, 8) for name in ("s", "b", "m")] + [constant("q", np.full(8, 0.5))]


SET = Path(__file__).parents[1] / "calibration" / "digits_test.npz"


@pytest.fixture
def digits_set() -> dict[str, Array]:
    """The first of the samples that belong to the shipped model."""
    with np.load(SET) as arrays:
        return {name: arrays[name][:60] for name in arrays.files}


def values_of(path: Path) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def picture_net() -> onnx.ModelProto:
    """A convolution with bias and BatchNormalization, one without either, and a classifier."""
    nodes = [
        *(node("Conv x w1 c1 -> h"), node("BatchNormalization h s b m q -> i")),
        *(node("Relu i -> j"), node("Conv j w2 -> k"), node("GlobalAveragePool k -> p")),
        *(node("Flatten p -> f"), node("Gemm f w3 c3 -> y")),
    ]
    tensors = [weight("w1", 8, 3, 3, 3), weight("c1", 8), weight("w2", 6, 8, 3, 3)]
    tensors += [*NORM, weight("w3", 6, 5), weight("c3", 5)]
    return model(nodes, {"x": (2, 3, 9, 9)}, "y", tensors)


@pytest.mark.parametrize("method", ["magnitude", "lamp", "random"])
@pytest.mark.parametrize("sparsity", [0.2, 0.5])
def test_filters_go_with_what_is_added_to_them_and_scales_them(
    sparsity: float, method: str, tmp_path: Path
) -> None:
    proto = picture_net()
    path = save(tmp_path / "m.onnx", proto)
    out = tmp_path / "o.onnx"
    report = onnxprune.prune(path, sparsity, method, pattern="filters", output=out)
    before, after = values_of(path), values_of(out)
    assert [each.weight.path for each in report.tensors] == ["w1", "w2"]
    lost = {}
    for name in ("w1", "w2"):
        rows = (after[name] == 0).reshape(len(after[name]), -1)
        assert (rows.any(1) == rows.all(1)).all()
        lost[name] = rows.all(1)
        assert (~lost[name]).sum() > 0
    assert abs(report.mask_zeros - sparsity * report.size) < 72
    assert set(report.followers) == ({"c1", "s", "b"} if lost["w1"].any() else set())
    for name in ("c1", "s", "b"):
        expected = np.where(lost["w1"], 0, before[name])
        np.testing.assert_array_equal(after[name], expected)
    for name in ("m", "q", "w3", "c3"):
        assert after[name].tobytes() == before[name].tobytes()
    # What follows sees nothing of these channels: its weights for them do not matter.
    other = onnx.load(out)
    for tensor in other.graph.initializer:
        if tensor.name == "w2":
            changed = numpy_helper.to_array(tensor).copy()
            changed[:, lost["w1"]] += 1e3
            tensor.CopyFrom(numpy_helper.from_array(changed, "w2"))
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(run(onnx.load(out), x=x)[0], run(other, x=x)[0])


def test_a_bias_behind_a_product_goes_with_its_filter(tmp_path: Path) -> None:
    nodes = [node("MatMul x w -> h"), node("Add h c -> i"), node("MatMul i v -> y")]
    tensors = [weight("w", 4, 8), weight("c", 8), weight("v", 8, 3)]
    path = save(tmp_path / "m.onnx", model(nodes, {"x": (2, 4)}, "y", tensors))
    onnxprune.prune(path, 0.5, "magnitude", pattern="filters", output=tmp_path / "o.onnx")
    after = values_of(tmp_path / "o.onnx")
    lost = ~after["w"].any(0)
    assert lost.sum() == 4
    np.testing.assert_array_equal(after["c"] == 0, lost)


def test_a_bias_that_others_use_stays_and_a_warning_says_so(tmp_path: Path) -> None:
    nodes = [node("Gemm x w c -> h"), node("Gemm x u c -> i"), node("Add h i -> j")]
    nodes += [node("Gemm j v -> y")]
    tensors = [weight("w", 4, 8), weight("u", 4, 8), weight("c", 8), weight("v", 8, 3)]
    path = save(tmp_path / "m.onnx", model(nodes, {"x": (2, 4)}, "y", tensors))
    out = tmp_path / "o.onnx"
    report = onnxprune.prune(path, 0.5, "magnitude", pattern="filters", output=out)
    assert report.followers == ()
    assert "what is added behind these filters stays as it is: 'w', 'u'" in report.warnings
    assert values_of(out)["c"].tobytes() == values_of(path)["c"].tobytes()


def test_the_outputs_of_the_model_do_not_vanish(run: Run, digits: Path) -> None:
    ran = run(digits, "-s", "0.5", "--pattern", "filters", "--dry-run", "--json")
    report = json.loads(ran.out)
    assert {each["name"]: each["reason"] for each in report["skipped"]}["fc2.weight"] == (
        "its outputs are the model's"
    )
    assert report["pattern"]["name"] == "filters"
    assert report["pattern"]["units"] == 16 + 32 + 128
    assert report["pattern"]["fallen"] > 0
    assert "fc1.bias" in report["pattern"]["followers"]


@pytest.mark.parametrize("multiple", [1, 8, 16])
def test_channels_are_kept_in_multiples(multiple: int, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.onnx"
    onnxprune.prune(
        *(digits, 0.4, "magnitude"),
        pattern="filters",
        allocation="uniform",
        channel_multiple=multiple,
        output=out,
    )
    after = values_of(out)
    for name in ("conv1.weight", "conv2.weight", "fc1.weight"):
        kept = int(after[name].reshape(len(after[name]), -1).any(1).sum())
        assert kept % multiple == 0
        assert kept > 0


def test_a_sweep_over_filters_runs_what_a_file_would_hold(
    digits: Path, tmp_path: Path, digits_set: dict[str, Array]
) -> None:
    trial = onnxprune.trial(digits_set, device="cpu", latency=False)
    out = tmp_path / "o.onnx"
    onnxprune.prune(digits, 0.4, "magnitude", pattern="filters", output=out)
    study = onnxprune.sweep(digits, trial, ["magnitude"], [0.4], pattern="filters")
    checked = onnxprune.check(digits, out, trial)
    (point,) = study.points
    assert point.measured == checked.result.measured


def test_studies_refuse_what_n_of_m_settles(
    digits: Path, digits_set: dict[str, Array]
) -> None:
    trial = onnxprune.trial(digits_set, device="cpu", latency=False, max_drop=0.1)
    with pytest.raises(onnxprune.OnnxpruneError, match=r"asked was 0\.7"):
        onnxprune.sweep(digits, trial, ["magnitude"], [0.5, 0.7], pattern="2:4")
    with pytest.raises(onnxprune.OnnxpruneError, match="nothing to search"):
        onnxprune.search(digits, trial, pattern="2:4")
    study = onnxprune.sensitivity(digits, trial, [0.5], pattern="2:4")
    assert [(p.method, 2 * p.zeros) for p in study.points] == [
        (name, size)
        for name, size in (("conv2.weight", 4608), ("fc1.weight", 65536), ("fc2.weight", 1280))
    ]
