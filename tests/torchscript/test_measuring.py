"""Methods that measure a file of torch's: torch runs it with other weights in their places."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onnxprune
from onnxprune.errors import OnnxpruneError, UnsupportedError, UsageError
from onnxprune.formats.torch_file import load_torch
from onnxprune.formats.trust import trusting
from onnxprune.masks import load
from onnxprune.statistics.native import Native
from onnxprune.types import Report
from tests import shared
from tests.reimport.imported import export
from tests.torchscript.nets import made, quiet, saved
from tests.torchscript.test_pruning import WAYS, masks_of

CPU = torch.device("cpu")
CHOICES = {
    "snip": {},
    "iterative_snip": {"steps": 3},
    "force": {"steps": 3},
    "grasp": {},
    "grasp_it": {"steps": 2},
    "linear": {"steps": 2},
    "obd": {"steps": 2},
    "quadratic": {"steps": 2, "curvature": "mc"},
}


def samples() -> dict[str, Any]:
    x = np.random.default_rng(5).standard_normal((24, 3, 6, 6)).astype(np.float32)
    return {"x": x, "labels": np.arange(24) % 5}


def measured(path: Path, method: str, data: Any, **more: Any) -> Report:
    output = path.with_name(f"{path.stem}.{method}{path.suffix}")
    given = {"output": output, "trust_model": True, "verify": False, "force": True}
    return onnxprune.prune(path, 0.5, method, data=data, **given | more)


@pytest.mark.parametrize(("name", "way"), [each for each in WAYS if each[0] != "gru"])
def test_gradients_are_those_of_the_torch_model(name: str, way: str, tmp_path: Path) -> None:
    path = saved(tmp_path, name, way)
    net, given = made(name)
    with trusting(True), load_torch(path) as model:
        module = Native(model, torch.float64, CPU)
        feeds = {model.survey.inputs[0]: given}
        leaves = {
            path: each.detach().requires_grad_() for path, each in module.tensors.items()
        }
        values = {w.path: model.values(w.path, 0, w.size) for w in model.weights}
    (output,) = module.compute(feeds, leaves).values()
    found = torch.autograd.grad(
        output.square().sum(), list(leaves.values()), allow_unused=True
    )
    double = net.double()
    plain = given.double() if given.is_floating_point() else given
    double(plain).square().sum().backward()
    compared = 0
    for place, gradient in zip(leaves, found, strict=True):
        for parameter in net.parameters():
            same = parameter.detach().float().reshape(-1).numpy()
            if same.size == values[place].size and np.allclose(same, values[place], atol=1e-6):
                wanted = parameter.grad
                if wanted is None:
                    assert gradient is None or not gradient.any()
                else:
                    assert gradient is not None
                    got = gradient.reshape(wanted.shape)
                    # What is frozen was folded in single precision.
                    tolerance = 1e-5 if way == "frozen" else 1e-9
                    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)
                compared += 1
    assert compared >= (0 if way == "frozen" else len(leaves))


def test_a_state_that_forward_changes_is_as_in_the_file_for_every_run(tmp_path: Path) -> None:
    path = saved(tmp_path, "remembering")
    _, given = made("remembering")
    with trusting(True), load_torch(path) as model:
        module = Native(model, torch.float32, CPU)
    with torch.no_grad():
        first, second = (module.compute({"x": given})["output"] for _ in range(2))
    assert torch.equal(first, second)
    for _ in range(2):
        output = module.compute({"x": given})["output"]
        enter, _, head = torch.autograd.grad(output.sum(), list(module.tensors.values()))
        # Its state is zero at first, and so is the gradient of what is multiplied with it.
        assert bool(enter.any())
        assert bool(head.any())


@pytest.mark.parametrize("method", CHOICES)
def test_masks_are_those_of_the_onnx_export(method: str, tmp_path: Path) -> None:
    net, given = made("small")
    graph = export(
        net, (given,), False, input_names=["x"], training=torch.onnx.TrainingMode.PRESERVE
    )
    exported = tmp_path / "small.onnx"
    exported.write_bytes(graph.SerializeToString())
    data = onnxprune.trial(samples(), batch=2, device="cpu")
    more = {"precision": "float64", "batches_per_step": 4, **CHOICES[method]}
    one = measured(exported, method, data, exclude=["*basis*"], **more)
    for way in ("script", "trace", "program"):
        if way == "program" and method == "grasp":
            continue  # its batch is part of the program, and so is the first order
        two = measured(saved(tmp_path, "small", way), method, data, **more)
        first, second = load(str(one.output)), masks_of(two)
        assert all(np.array_equal(first[path], second[path]) for path in second)
        assert two.calibration is not None
        assert two.calibration.native
        assert two.calibration.error is None


def test_flow_is_measured_of_the_onnx_form(tmp_path: Path) -> None:
    path = saved(tmp_path, "small", "trace")
    with pytest.raises(UsageError) as caught:
        measured(path, "synflow", None)
    assert "is measured of its ONNX form" in caught.value.message
    data = onnxprune.trial("random:2", shapes={"x": (3, 6, 6)}, batch=2)
    report = measured(path, "synflow", data, steps=3)
    net, given = made("small")
    graph = export(
        net, (given,), False, input_names=["x"], training=torch.onnx.TrainingMode.PRESERVE
    )
    exported = tmp_path / "small.onnx"
    exported.write_bytes(graph.SerializeToString())
    one = measured(exported, "synflow", None, steps=3, exclude=["*basis*"])
    first, second = load(str(one.output)), masks_of(report)
    assert all(np.array_equal(first[path], second[path]) for path in second)
    assert report.calibration is not None
    assert not report.calibration.native


def test_statistics_of_a_batch_are_not_to_be_had(tmp_path: Path) -> None:
    data = onnxprune.trial(samples(), batch=2, device="cpu")
    with pytest.raises(
        UnsupportedError, match="--bn batch: TorchScript normalises as it says"
    ):
        measured(saved(tmp_path, "small"), "snip", data, bn="batch")


def test_samples_of_another_shape_are_refused_in_one_line(tmp_path: Path) -> None:
    wrong = {"x": np.zeros((4, 2, 6, 6), np.float32), "labels": np.arange(4)}
    with pytest.raises(OnnxpruneError) as caught:
        measured(saved(tmp_path, "small"), "snip", onnxprune.trial(wrong, device="cpu"))
    assert caught.value.exit_code in (3, 6)
    assert "\n" not in caught.value.message


@pytest.mark.slow
@pytest.mark.parametrize("method", ["snip", "force"])
def test_resnet20_is_measured_like_its_onnx_export(method: str, tmp_path: Path) -> None:
    script = shared.needs_models("resnet20", "traced.pt")
    export_ = shared.needs_models("resnet20", "ts_bn.onnx")
    with np.load(shared.DATA / "cifar10_calibration.npz") as pixels:
        x = pixels["images_u8"][:32].transpose(0, 3, 1, 2).astype(np.float32) / 255
        labels = pixels["labels"][:32]
    steps = 3 if method == "force" else None
    for precision, allowed in (("float64", 0), ("float32", 27)):
        more = {"steps": steps, "precision": precision, "batches_per_step": 2}
        kept = []
        for path, name in ((export_, "input"), (script, "x")):
            data = onnxprune.trial({name: x, "labels": labels}, batch=16, device="cpu")
            output = tmp_path / f"{precision}{path.suffix}"
            kept.append(masks_of(measured(path, method, data, output=output, **more)))
        differ = sum(int((kept[0][path] != kept[1][path]).sum()) for path in kept[0])
        assert differ <= allowed


def test_no_warning_of_deprecation_reaches_the_user(tmp_path: Path) -> None:
    with quiet():
        path = saved(tmp_path, "small")
    data = onnxprune.trial(samples(), batch=4, device="cpu")
    assert measured(path, "snip", data).warnings == ()
