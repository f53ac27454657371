"""Winning accuracy back, from the file to the file: what is kept, what is said, what never gets worse."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxprune
from onnxprune.errors import InputError, OnnxpruneError, UsageError
from onnxprune.recover import distilling
from onnxprune.report.as_json import to_dict
from onnxprune.types import Array, Report
from tests.conftest import Ran

Start = Callable[..., Ran]
FITTED = Path(__file__).parents[1] / "calibration" / "digits_calibration.npz"
OTHERS = FITTED.with_name("digits_test.npz")


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPRUNE_THREADS", "1")


def weights_in(file: str | Path) -> dict[str, Array]:
    model = onnx.load(file)
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def recovered(model: Path, output: Path, recover: str, **more: Any) -> Report:
    given = {"data": onnxprune.trial(FITTED, device="cpu"), "verify": False} | more
    return onnxprune.prune(model, 0.95, output=output, recover=recover, **given)


def net(dtype: type = np.float32, biased: bool = False) -> onnx.ModelProto:
    """A convolution with groups, a normalisation, a product of rank 3, and a Gemm."""
    random = np.random.default_rng(4)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def tensor(name: str, *shape: int, positive: bool = False) -> onnx.TensorProto:
        values = random.standard_normal(shape)
        return numpy_helper.from_array(
            (np.abs(values) if positive else values).astype(dtype), name
        )

    made = [
        tensor("kernel", 6, 2, 3, 3),
        tensor("scale", 6, positive=True),
        tensor("shift", 6),
        tensor("mean", 6),
        tensor("variance", 6, positive=True),
        tensor("factor", 16, 8),
        tensor("last", 3, 6 * 8),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], group=2, pads=[1] * 4, name="conv"),
        helper.make_node(
            "BatchNormalization", ["a", *["scale", "shift", "mean", "variance"]], ["b"]
        ),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["flat"], axis=2),
        helper.make_node("MatMul", ["rows", "factor"], ["d"]),
        helper.make_node("Tanh", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "last"], ["y"], transB=1),
    ]
    made.append(numpy_helper.from_array(np.array([0, 6, 16]), "three"))
    nodes[3] = helper.make_node("Reshape", ["c", "three"], ["rows"])
    if biased:
        made.append(tensor("added", 3))
        nodes[-1].input.append("added")
    x = helper.make_tensor_value_info("x", kind, ["N", 4, 4, 4])
    y = helper.make_tensor_value_info("y", kind, ["N", 3])
    graph = helper.make_graph(nodes, "net", [x], [y], made)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def saved(model: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    onnx.save(model, path)
    return path


def drawn(count: int = 800, dtype: type = np.float32) -> dict[str, Array]:
    return {"x": np.random.default_rng(9).standard_normal((count, 4, 4, 4)).astype(dtype)}


def test_what_was_tried_is_told_in_order_and_the_zeros_are_those_asked_for(
    digits: Path, tmp_path: Path
) -> None:
    report = recovered(
        digits,
        tmp_path / "out.onnx",
        "distill,bias,refit,statistics",
        epochs=2,
        check=onnxprune.trial(OTHERS, device="cpu", latency=False),
    )
    made = report.recovery
    assert made is not None
    assert [step.name for step in made.steps] == ["refit", "statistics", "bias", "distill"]
    assert made.fitted + made.held == 200
    assert made.dense.loss == 0
    assert made.final.better_than(made.pruned)
    assert made.steps[0].kept
    assert report.zeros == report.mask_zeros == round(0.95 * report.size)
    before, after = weights_in(digits), weights_in(tmp_path / "out.onnx")
    for tensor in report.tensors:
        assert int((after[tensor.weight.path] == 0).sum()) == tensor.mask_zeros
        assert (after[tensor.weight.path] != before[tensor.weight.path]).any()
    assert report.check is not None
    assert report.check.measured.accuracy is not None
    # One shot at 95 % has 381 of 400 right.
    assert report.check.measured.accuracy.pruned >= 390
    assert "recovery" in to_dict(report)


@pytest.mark.parametrize("method", ["lamp", "force", "magnitude"])
def test_what_fell_on_the_way_is_exactly_what_was_asked_for_in_the_end(
    method: str, digits: Path, tmp_path: Path
) -> None:
    report = onnxprune.prune(
        digits,
        0.97,
        method,
        output=tmp_path / "out.onnx",
        recover="distill",
        epochs=2,
        steps=20,
        held_out=0.3,
        data=onnxprune.trial(FITTED, device="cpu", batch=8),
    )
    assert report.recovery is not None
    assert report.recovery.steps[0].kept
    assert report.zeros == report.mask_zeros == round(0.97 * report.size)


def test_only_what_was_pruned_or_is_no_weight_changes(digits: Path, tmp_path: Path) -> None:
    report = recovered(
        digits,
        tmp_path / "out.onnx",
        "refit,bias,distill",
        epochs=1,
        exclude=["fc1.*", "conv1.bias"],
    )
    before, after = weights_in(digits), weights_in(tmp_path / "out.onnx")
    assert report.recovery is not None
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert {"conv1.weight", "conv2.weight", "fc2.weight"} <= changed
    assert not changed & {"fc1.weight", "fc1.bias", "conv1.bias"}


def test_every_byte_outside_of_the_changed_tensors_stays(digits: Path, tmp_path: Path) -> None:
    recovered(digits, tmp_path / "out.onnx", "refit")
    dense, pruned = digits.read_bytes(), (tmp_path / "out.onnx").read_bytes()
    assert len(dense) == len(pruned)
    for array in weights_in(digits).values():
        dense = dense.replace(array.tobytes(), b"\0" * array.nbytes)
    for array in weights_in(tmp_path / "out.onnx").values():
        pruned = pruned.replace(array.tobytes(), b"\0" * array.nbytes)
    assert dense == pruned


def test_training_twice_gives_the_same_file_and_another_seed_another(
    digits: Path, tmp_path: Path
) -> None:
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        recovered(digits, tmp_path / f"{name}.onnx", "distill", epochs=2, seed=seed, steps=3)
        files.append((tmp_path / f"{name}.onnx").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_a_training_that_was_broken_off_goes_on_from_its_checkpoint(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {"epochs": 3, "steps": 4}
    recovered(digits, tmp_path / "whole.onnx", "refit,distill", **whole)
    kept = []
    judge = distilling.Distillation._judge

    def stopping(self: Any, progress: Any) -> None:
        judge(self, progress)
        kept.append(progress)
        if len(kept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(distilling.Distillation, "_judge", stopping)
    with pytest.raises(KeyboardInterrupt):
        recovered(
            digits, tmp_path / "out.onnx", "refit,distill", checkpoint=tmp_path / "c", **whole
        )
    assert not (tmp_path / "out.onnx").exists()
    recovered(
        digits, tmp_path / "out.onnx", "refit,distill", checkpoint=tmp_path / "c", **whole
    )
    # One epoch was kept, the second one is done again.
    assert len(kept) == 4
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()
    with pytest.raises(InputError, match="the training of another pruning"):
        recovered(
            digits, tmp_path / "new.onnx", "distill", checkpoint=tmp_path / "c", epochs=3
        )


def test_a_training_that_runs_away_leaves_the_model_as_it_was(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        distilling.Judge,
        "loss",
        lambda self, found, wanted, fed: found["logits"].sum() * np.nan,
    )
    onnxprune.prune(digits, 0.95, output=tmp_path / "plain.onnx", verify=False)
    report = recovered(digits, tmp_path / "out.onnx", "distill", epochs=2)
    assert report.recovery is not None
    assert not report.recovery.steps[0].kept
    assert any("the loss was no number" in warning for warning in report.warnings)
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "plain.onnx").read_bytes()


def test_too_few_samples_and_samples_of_another_shape_are_refused(
    digits: Path, tmp_path: Path
) -> None:
    images = np.zeros((1, 1, 8, 8), np.float32)
    with pytest.raises(InputError, match="1 sample cannot be divided"):
        recovered(
            digits, tmp_path / "out.onnx", "refit", data=onnxprune.trial({"image": images})
        )
    with pytest.raises(OnnxpruneError):
        recovered(
            digits,
            tmp_path / "out.onnx",
            "refit",
            data=onnxprune.trial({"image": np.zeros((9, 1, 7, 8), np.float32)}),
        )
    with pytest.raises(UsageError, match="--recover runs the model on samples"):
        recovered(digits, tmp_path / "out.onnx", "refit", data=None)
    assert not (tmp_path / "out.onnx").exists()


def test_samples_that_are_all_the_same_make_nothing_worse(
    digits: Path, tmp_path: Path
) -> None:
    images = np.zeros((20, 1, 8, 8), np.float32)
    report = recovered(
        digits,
        tmp_path / "out.onnx",
        "refit,statistics",
        data=onnxprune.trial({"image": images}),
    )
    assert report.recovery is not None
    assert not report.recovery.pruned.better_than(report.recovery.final)
    assert all(np.isfinite(array).all() for array in weights_in(report.output or "").values())


@pytest.mark.parametrize("recover", ["refit", "statistics", "bias", "refit,statistics,bias"])
def test_layers_are_brought_closer_and_biases_made_where_there_are_none(
    recover: str, tmp_path: Path
) -> None:
    path = saved(net(), tmp_path)
    report = onnxprune.prune(
        path,
        0.5,
        output=tmp_path / "out.onnx",
        recover=recover,
        data=onnxprune.trial(drawn(), device="cpu"),
    )
    made = report.recovery
    assert made is not None
    assert made.final.better_than(made.pruned)
    model = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(model, full_check=True)
    added = {each.name for each in model.graph.initializer} - set(weights_in(path))
    assert added == set(made.created)
    if "bias" in recover:
        assert {"last_bias", "factor_bias"} >= added
    assert report.zeros >= report.mask_zeros == round(0.5 * report.size)


def test_values_are_judged_as_the_file_holds_them(tmp_path: Path) -> None:
    dtype = np.float16
    path = saved(net(dtype, biased=True), tmp_path)
    report = onnxprune.prune(
        path,
        0.5,
        output=tmp_path / "out.onnx",
        recover="refit,distill",
        epochs=2,
        augment="none",
        data=onnxprune.trial(drawn(dtype=dtype), device="cpu"),
    )
    assert report.recovery is not None
    assert report.recovery.final.better_than(report.recovery.pruned)
    after = weights_in(tmp_path / "out.onnx")
    assert after["kernel"].dtype == dtype
    for tensor in report.tensors:
        assert int((after[tensor.weight.path] == 0).sum()) >= tensor.mask_zeros


def test_masks_made_by_hand_survive_every_step(tmp_path: Path) -> None:
    """Two of every four, and a whole block: zeros stay exactly where they are."""
    path = saved(net(), tmp_path)
    random = np.random.default_rng(1)
    masks = {
        "kernel": np.ones((6, 2, 3, 3), bool),
        "factor": np.argsort(random.random((32, 4)), 1).reshape(16, 8) < 2,
    }
    masks["kernel"][:2] = False
    pruned = onnx.load(path)
    for tensor in pruned.graph.initializer:
        if tensor.name in masks:
            values = numpy_helper.to_array(tensor) * masks[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    made = saved(pruned, tmp_path, "pruned.onnx")
    onnxprune.masks.export(made, tmp_path / "masks.npz")
    from onnxprune.cli import main

    np.savez(tmp_path / "data.npz", **drawn())
    words = ["mask", "apply", path, tmp_path / "masks.npz", "-o", tmp_path / "out.onnx"]
    words += ["--recover", "refit,sparsegpt,statistics,bias,distill", "--epochs", 2, "--json"]
    assert main([str(word) for word in [*words, "--data", tmp_path / "data.npz"]]) == 0
    after = weights_in(tmp_path / "out.onnx")
    for name, mask in masks.items():
        assert (after[name][~mask] == 0).all()
        assert (after[name][mask] != 0).all()
    assert (after["factor"] != weights_in(path)["factor"] * masks["factor"]).any()


def test_rewinding_gives_what_is_kept_the_values_of_a_checkpoint(
    digits: Path, tmp_path: Path
) -> None:
    other = onnx.load(digits)
    for tensor in other.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(values * np.float32(0.5), tensor.name))
    early = saved(other, tmp_path, "early.onnx")
    plain = onnxprune.prune(digits, 0.9, output=tmp_path / "plain.onnx", verify=False)
    report = onnxprune.prune(
        digits, 0.9, output=tmp_path / "out.onnx", rewind=early, verify=False
    )
    assert report.zeros == plain.zeros
    masked, rewound = weights_in(tmp_path / "plain.onnx"), weights_in(tmp_path / "out.onnx")
    for name, values in masked.items():
        kept = values != 0 if name.endswith("weight") else np.ones_like(values, bool)
        np.testing.assert_array_equal(rewound[name], weights_in(early)[name] * kept)
    trained = recovered(
        digits, tmp_path / "trained.onnx", "distill", epochs=2, rewind=str(early)
    )
    assert trained.recovery is not None
    assert trained.recovery.final.better_than(trained.recovery.pruned)
    after = weights_in(tmp_path / "trained.onnx")
    onnxprune.prune(digits, 0.95, output=tmp_path / "mask.onnx", verify=False)
    for name, values in weights_in(tmp_path / "mask.onnx").items():
        if name.endswith("weight"):
            assert ((after[name] == 0) == (values == 0)).all()
    with pytest.raises(UsageError, match="--rewind starts from other weights"):
        recovered(digits, tmp_path / "x.onnx", "refit", rewind=str(early))


@pytest.mark.parametrize("method", ["magnitude", "erk", "wanda", "snip", "sparsegpt"])
def test_weights_fall_in_steps_by_any_method_with_recovery_between(
    method: str, digits: Path, tmp_path: Path
) -> None:
    report = recovered(
        digits, tmp_path / "out.onnx", "distill", method=method, steps=3, epochs=1
    )
    assert report.zeros == report.mask_zeros == round(0.95 * report.size)
    layered = recovered(
        digits, tmp_path / "layers.onnx", "refit", method=method, steps=2, force=True
    )
    assert layered.recovery is not None
    assert layered.recovery.steps[0].note == "refit after each of 2 steps"
    assert layered.zeros == report.zeros


def test_studies_refuse_to_recover(digits: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('recover = "refit"\n')
    for call in (onnxprune.sweep, onnxprune.sensitivity):
        with pytest.raises(UsageError, match="studies compare masks by what they cost alone"):
            call(digits, onnxprune.trial(FITTED), recover="refit")


def test_the_command_says_what_was_won_back(run: Start, digits: Path, tmp_path: Path) -> None:
    shutil.copy(digits, tmp_path / "digits.onnx")
    words = ("-s", "95%", "--recover", "refit", "--data", FITTED, "--no-latency")
    ran = run(tmp_path / "digits.onnx", *words, "--json")
    values = json.loads(ran.out)
    assert [step["name"] for step in values["recovery"]["steps"]] == ["refit"]
    assert values["recovery"]["final"]["agreement"] > values["recovery"]["pruned"]["agreement"]
    assert any("so too good" in warning for warning in values["warnings"])
    shown = run(tmp_path / "digits.onnx", *words, "--force").out
    assert "recovery  distance    agree  accuracy   time  kept" in shown
    assert "so too good" in shown
    wrong = run(tmp_path / "digits.onnx", "-s", "0.5", "--recover", "destill")
    assert (wrong.code, "did you mean distill?" in wrong.err) == (2, True)
    unused = run(tmp_path / "digits.onnx", "-s", "0.5", "--epochs", "3")
    assert (unused.code, "--epochs is of distillation" in unused.err) == (2, True)


def test_a_model_whose_last_word_is_a_class_is_matched_before_that(tmp_path: Path) -> None:
    model = net(biased=True)
    model.graph.node.append(helper.make_node("ArgMax", ["y"], ["class"], axis=1, keepdims=0))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("class", TensorProto.INT64, ["N"]))
    report = onnxprune.prune(
        saved(model, tmp_path),
        0.5,
        output=tmp_path / "out.onnx",
        recover="refit,distill",
        epochs=1,
        augment="none",
        data=onnxprune.trial(drawn(), device="cpu"),
    )
    assert report.recovery is not None
    assert report.recovery.matched == ("y",)
    assert report.recovery.final.better_than(report.recovery.pruned)
