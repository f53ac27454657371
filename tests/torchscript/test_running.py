"""Files of torch's are run as ONNX where they convert, else by torch; reports say which."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

import onnxprune
from onnxprune.errors import GateFailed, LibraryError, UnsupportedError, UsageError
from onnxprune.formats.trust import trusting
from onnxprune.outcomes import CheckResult
from onnxprune.trials import staging
from onnxprune.types import Report
from tests import shared
from tests.conftest import Ran
from tests.torchscript.nets import loaded, quiet, saved
from tests.torchscript.test_measuring import samples
from tests.torchscript.test_pruning import masks_of

ENGINES = ("ONNX Runtime", "torch")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine that runs files in a test."""

    def refuse(*_: object) -> Any:
        raise UnsupportedError("the model does not convert to ONNX: no reason")

    if request.param == "torch":
        monkeypatch.setattr(staging, "convert", refuse)
    return str(request.param)


def trial(**more: Any) -> Any:
    given = {"batch": 8, "device": "cpu", "latency": False}
    return onnxprune.trial(samples(), **given | more)


def pruned(path: Path, **more: Any) -> Report:
    given = {
        "trust_model": True,
        "verify": False,
        "output": path.with_name(f"out{path.suffix}"),
    }
    return onnxprune.prune(path, **{"sparsity": 0.5, "method": "lamp"} | given | more)


def native_outputs(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with quiet(), torch.no_grad():
        found = loaded(path)(torch.from_numpy(x))
    return np.asarray(found.numpy())


def told(result: CheckResult, engine: str) -> None:
    assert result.place.engine == engine
    (note,) = [each for each in result.warnings if each.startswith("TorchScript")]
    converted = "TorchScript was turned into ONNX to be run (by tracing)"
    stayed = "TorchScript runs in torch: the model does not convert to ONNX: no reason"
    assert note == (converted if engine == "ONNX Runtime" else stayed)


def test_a_check_counts_what_the_models_answer(engine: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "small", "trace")
    report = pruned(path)
    assert report.output is not None
    with trusting(True):
        result = onnxprune.check(path, report.output, trial()).result
    told(result, engine)
    (output,) = result.measured.outputs
    dense, after = (native_outputs(Path(p), samples()["x"]) for p in (path, report.output))
    assert output.agreed == int((dense.argmax(1) == after.argmax(1)).sum())
    assert output.max_abs == pytest.approx(float(np.abs(dense - after).max()), rel=1e-4)
    assert output.top1 is not None
    assert output.top1.dense == int((dense.argmax(1) == samples()["labels"]).sum())


def test_a_gate_decides_before_anything_is_put_in_place(engine: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "small", "trace")
    with pytest.raises(GateFailed) as caught:
        pruned(path, check=trial(max_kl=1e-9))
    assert isinstance(caught.value.report, Report)
    assert caught.value.report.check is not None
    told(caught.value.report.check, engine)
    assert [each.name for each in tmp_path.iterdir()] == ["small.pt"]
    dry = pruned(path, check=trial(), dry_run=True)
    real = pruned(path, check=trial())
    assert dry.check is not None
    assert real.check is not None
    assert dry.check.measured == real.check.measured


def test_studies_try_what_files_would_give(engine: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "small", "trace")
    with trusting(True):
        study = onnxprune.sweep(path, trial(), ["lamp", "snip"], [0.5])
        report = pruned(path)
        checked = onnxprune.check(path, str(report.output), trial()).result
        costs = onnxprune.sensitivity(path, trial(), [0.5])
        found = onnxprune.search(
            path, trial(min_agreement=0.5), output=tmp_path / "best.pt", resolution=0.1
        )
    assert study.points[0].measured == checked.measured
    assert study.points[1].method == "snip"
    assert study.place.engine == engine
    assert study.sha256 == report.sha256
    assert {point.method for point in costs.points} == {
        "conv.weight",
        "depth.weight",
        "head.weight",
    }
    assert found.report.output == str(tmp_path / "best.pt")
    assert found.search.setting == pytest.approx(
        found.report.zeros / found.report.size, abs=0.01
    )


def test_a_conversion_that_dies_leaves_torch_to_run_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> Any:
        raise LibraryError("torch died of SIGSEGV on this model")

    monkeypatch.setattr(staging, "convert", die)
    path = saved(tmp_path, "small", "trace")
    with trusting(True):
        result = onnxprune.check(path, path, trial()).result
    assert result.place.engine == "torch"
    assert "TorchScript runs in torch: torch died of SIGSEGV on this model" in result.warnings


def test_weights_that_an_exporter_merges_are_pruned_apart(tmp_path: Path) -> None:
    layers = [torch.nn.Linear(6, 6, bias=False) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    net = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1])
    path = tmp_path / "twins.pt"
    with quiet():
        torch.jit.save(torch.jit.trace(net, torch.randn(2, 6)), path)
    x = np.random.default_rng(4).standard_normal((8, 6)).astype(np.float32)
    given = onnxprune.trial({"input": x}, batch=4, device="cpu", latency=False)
    with trusting(True):
        study = onnxprune.sweep(path, given, ["random"], [0.5])
        report = pruned(path, method="random", sparsity=0.5)
        checked = onnxprune.check(path, str(report.output), given).result
    assert (study.points[0].zeros, study.points[0].size) == (36, 72)
    (found,), (wanted,) = (
        each.outputs for each in (study.points[0].measured, checked.measured) if each
    )
    assert found.max_abs == pytest.approx(wanted.max_abs, rel=1e-4)


def test_a_state_is_as_in_the_file_for_every_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, "remembering")
    x = np.random.default_rng(2).standard_normal((6, 6)).astype(np.float32)
    results = []
    for _ in range(2):
        given = onnxprune.trial({"x": x}, batch=1, device="cpu", latency=False)
        with trusting(True):
            results.append(onnxprune.check(path, path, given).result.measured.outputs[0])
        monkeypatch.setattr(staging, "convert", _no_conversion)
    assert all(each.identical for each in results)


def _no_conversion(*_: object) -> Any:
    raise UnsupportedError("the model does not convert to ONNX")


@pytest.mark.parametrize("way", ["script", "trace", "frozen", "program"])
def test_an_output_named_so_becomes_onnx(way: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "small", way)
    data = onnxprune.trial(samples(), batch=2, device="cpu")
    report = pruned(path, output=tmp_path / "out.onnx", data=data)
    other = pruned(path)
    assert report.output == str(tmp_path / "out.onnx")
    assert report.zeros == other.zeros
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx")
    x = samples()["x"][:2]
    (found,) = session.run(None, {"x": x})
    wanted = native_outputs(Path(str(other.output)), x)
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    model = onnx.load(tmp_path / "out.onnx")
    zeros = {
        tensor.name: int((numpy_helper.to_array(tensor) == 0).sum())
        for tensor in model.graph.initializer
    }
    kept = masks_of(other)
    if way in ("script", "trace", "program"):
        assert {
            name: int((~mask).sum()) for name, mask in kept.items()
        }.items() <= zeros.items()
    assert report.verified is not None
    assert "its ONNX form computes the same, within" in report.verified
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(
        [path.name, "out.onnx", f"out{path.suffix}"]
    )


def test_becoming_onnx_takes_an_example(tmp_path: Path, run: Any) -> None:
    path = saved(tmp_path, "small", "trace")
    with pytest.raises(UsageError) as caught:
        pruned(path, output=tmp_path / "out.onnx")
    assert "a model is run on an example of what it takes" in caught.value.message
    words = [path, "-s", "0.5", "--trust-model", "-o", tmp_path / "out.onnx", "--json"]
    ran: Ran = run(*words, "-d", "random:2", "--shape", "x=3x6x6", "--device", "cpu")
    assert (ran.code, ran.err) == (0, "")
    report = json.loads(ran.out)
    assert report["output"] == str(tmp_path / "out.onnx")
    assert report["bytes"]["after"] == (tmp_path / "out.onnx").stat().st_size


def test_a_dry_run_of_becoming_onnx_writes_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path, "small", "trace")
    data = onnxprune.trial(samples(), batch=2, device="cpu")
    report = pruned(path, output=tmp_path / "out.onnx", data=data, dry_run=True)
    assert report.output is None
    assert report.mask_zeros == round(0.5 * report.size)
    assert [each.name for each in tmp_path.iterdir()] == ["small.pt"]


@pytest.mark.parametrize("way", ["script", "frozen", "program"])
def test_channels_go_where_the_output_is_onnx(way: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "small", way)
    data = onnxprune.trial(samples(), batch=2, device="cpu")
    given = {"remove": True, "data": data, "verify": True, "sparsity": 0.4}
    report = pruned(path, output=tmp_path / "out.onnx", check=data, **given)
    assert report.model == str(path)
    removal = report.removal
    assert removal is not None
    assert removal.removed > 0
    assert removal.same is not None
    assert removal.same.largest <= removal.same.allowed
    assert report.check is not None
    onnx.checker.check_model(tmp_path / "out.onnx", full_check=True)
    assert report.warnings[0] == "tensors have the names of the model's ONNX form"
    with pytest.raises(UsageError, match=r"-o NAME\.onnx|takes channels out of ONNX models"):
        pruned(path, **given)
    with pytest.raises(UsageError, match="an example of what it takes"):
        pruned(path, output=tmp_path / "other.onnx", **given | {"data": None})
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([path.name, "out.onnx"])


def test_a_name_that_promises_another_form_is_refused(tmp_path: Path) -> None:
    script, program = saved(tmp_path, "small"), saved(tmp_path, "small", "program")
    with pytest.raises(UsageError, match=r"out\.pt2: TorchScript is written as it is"):
        pruned(script, output=tmp_path / "out.pt2")
    with pytest.raises(UsageError, match=r"out\.pt: an exported program is written as it is"):
        pruned(program, output=tmp_path / "out.pt")


def test_what_does_not_become_onnx_leaves_the_old_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, "small", "trace")
    (tmp_path / "out.onnx").write_bytes(b"old")
    monkeypatch.setattr(staging, "convert", _no_conversion)
    data = onnxprune.trial(samples(), batch=2, device="cpu")
    with pytest.raises(UnsupportedError, match="does not convert to ONNX"):
        pruned(path, output=tmp_path / "out.onnx", data=data, force=True)
    assert (tmp_path / "out.onnx").read_bytes() == b"old"

    def die(*_: object) -> Any:
        raise LibraryError("torch died of SIGSEGV on this model")

    monkeypatch.setattr(staging, "convert", die)
    with pytest.raises(LibraryError):
        pruned(path, output=tmp_path / "out.onnx", data=data, force=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.onnx", "small.pt"]


@pytest.mark.slow
def test_resnet20_becomes_onnx_with_all_its_zeros(tmp_path: Path) -> None:
    path = shared.needs_models("resnet20", "traced.pt")
    data = onnxprune.trial("random:4", shapes={"x": (3, 32, 32)}, batch=2, device="cpu")
    report = pruned(path, output=tmp_path / "out.onnx", data=data)
    again = onnxprune.inspect(tmp_path / "out.onnx", verify=False)
    first = {each.weight.path: each.tally.zeros for each in report.tensors}
    assert first == {each.weight.path: each.tally.zeros for each in again.tensors}
    assert again.zeros == round(0.5 * 268_336)
