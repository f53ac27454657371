"""Pruned files of torch's: the same bytes but for the weights, and the outputs of zeroed weights."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import onnxprune
from onnxprune.errors import (
    InputError,
    LibraryError,
    OutputError,
    UnsupportedError,
    UsageError,
)
from onnxprune.formats import torch_file
from onnxprune.formats.loading import is_archive
from onnxprune.formats.trust import trusting
from onnxprune.masks import load
from onnxprune.types import Report
from tests import shared
from tests.conftest import Ran
from tests.torchscript.nets import NETS, loaded, made, quiet, saved

WAYS = [
    *((name, "script") for name in NETS if name != "gru"),
    *((name, "trace") for name in ("small", "tied", "gru")),
    *((name, "frozen") for name in ("small", "choosing")),
    *((name, "program") for name in ("small", "tied", "products")),
]


def pruned(path: Path, sparsity: float = 0.5, method: str = "global", **more: Any) -> Report:
    output = path.with_name(f"out{path.suffix}")
    given = {"output": output, "trust_model": True, "verify": False}
    return onnxprune.prune(path, sparsity, method, **given | more)


def masks_of(report: Report) -> dict[str, Any]:
    """Return what is kept; of a file of torch's by what is known of the one it was."""
    assert report.output is not None
    if not is_archive(Path(report.output)):
        return load(report.output)
    with (
        trusting(True),
        torch_file.load_torch(Path(report.model)) as model,
        model.reopen(Path(report.output), {}, False) as written,
    ):
        return {
            each.path: written.values(each.path, 0, each.size).reshape(each.shape) != 0
            for each in written.weights
        }


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_a_pruned_file_computes_what_zeroed_weights_do(
    name: str, way: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, name, way)
    report = pruned(path, include_embeddings=True)
    assert report.zeros == report.mask_zeros == round(0.5 * report.size)
    _, given = made(name)
    assert report.output is not None
    found = loaded(Path(report.output))
    wanted = loaded(path)
    if way == "frozen":
        zero_constants(wanted, path, masks_of(report))
    else:
        state = dict(wanted.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            for tensor, mask in masks_of(report).items():
                state[tensor].mul_(torch.from_numpy(mask).reshape(state[tensor].shape))
    with quiet(), torch.no_grad():
        for _ in range(2):  # what keeps a state gives something else the second time
            assert torch.equal(found(given), wanted(given))


def zero_constants(module: Any, path: Path, masks: dict[str, Any]) -> None:
    """Zero what a frozen module holds, found by the values that the file has."""
    with trusting(True), torch_file.load_torch(path) as model:
        values = {w.path: model.values(w.path, 0, w.size) for w in model.weights}
    for node in module.graph.nodes():
        if node.kind() != "prim::Constant" or "value" not in node.attributeNames():
            continue
        if node.kindOf("value") != "t":
            continue
        tensor: Tensor = node.t("value")
        for name, wanted in values.items():
            same = tensor.numel() == wanted.size
            if same and np.array_equal(tensor.detach().numpy().ravel(), wanted):
                with torch.no_grad():
                    tensor.mul_(torch.from_numpy(masks[name]).reshape(tensor.shape))
                break


@pytest.mark.parametrize("way", ["script", "frozen", "program"])
def test_every_other_byte_stays_as_it_was(way: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "small", way)
    report = pruned(path)
    assert report.output is not None
    before, after = path.read_bytes(), Path(report.output).read_bytes()
    assert len(before) == len(after)
    changed = {at for at in range(len(before)) if before[at] != after[at]}
    with trusting(True), torch_file.load_torch(path) as model:
        allowed = set()
        for weight in model.weights:
            start = model.stored(weight.path).offset
            assert start is not None
            allowed |= set(range(start, start + 4 * weight.size))
            for at in model.archive.members[model.regions[weight.path].key].sums:
                allowed |= set(range(at, at + 4))
    assert changed <= allowed
    with zipfile.ZipFile(report.output) as archive:
        assert archive.testzip() is None


def test_methods_other_than_forward_and_state_survive(tmp_path: Path) -> None:
    path = saved(tmp_path, "remembering")
    report = pruned(path)
    assert report.output is not None
    module = loaded(Path(report.output))
    _, given = made("remembering")
    with quiet(), torch.no_grad():
        first, second = module(given), module(given)
        assert not torch.equal(first, second)
        assert module.steps == 2
        module.reset()
        assert torch.equal(module(given), first)


def test_values_that_another_tensor_shares_in_part_are_not_pruned(tmp_path: Path) -> None:
    class Sharing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole = torch.randn(6, 4)
            self.layer = torch.nn.Linear(4, 4)
            self.layer.weight = torch.nn.Parameter(whole[:4])
            self.other = torch.nn.Linear(4, 4)
            self.other.weight = torch.nn.Parameter(whole[2:])

        def forward(self, x: Tensor) -> Tensor:
            return self.other(self.layer(x))

    path = tmp_path / "net.pt"
    with quiet():
        torch.jit.save(torch.jit.trace(Sharing(), torch.randn(1, 4)), path)
    with pytest.raises(UnsupportedError, match="shares bytes with"):
        pruned(path)
    assert not (tmp_path / "out.pt").exists()


def test_what_torch_does_not_load_again_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, "small")
    (tmp_path / "out.pt").write_bytes(b"old")

    def refuse(command: str, *_: object) -> dict[str, Any]:
        raise LibraryError(f"torch died of SIGSEGV on this model ({command})")

    monkeypatch.setattr(torch_file, "ask", refuse)
    with pytest.raises(OutputError, match="cannot be read back: torch died of SIGSEGV"):
        pruned(path, force=True, verify=True)
    assert (tmp_path / "out.pt").read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.pt", "small.pt"]


def test_the_content_tells_the_form_whatever_the_name(tmp_path: Path, digits: Path) -> None:
    script = saved(tmp_path, "small").rename(tmp_path / "script.onnx")
    report = onnxprune.prune(script, 0.5, trust_model=True)
    assert report.output == str(tmp_path / "script.pruned.onnx")
    assert report.verified == "torch loads it as TorchScript"
    model = tmp_path / "model.bin"
    model.write_bytes(digits.read_bytes())
    report = onnxprune.prune(model, 0.5, output=tmp_path / "digits.bin")
    assert report.verified == "onnx.checker accepts it"
    with pytest.raises(UsageError) as caught:
        onnxprune.prune(model, 0.5, output=tmp_path / "digits.pt")
    assert caught.value.message.endswith("digits.pt: an ONNX model is written as one")
    with pytest.raises(InputError, match=r"an ONNX model under a name with \.pt"):
        onnxprune.prune(model.rename(tmp_path / "model.pt"), 0.5)


def test_the_command_says_what_it_did(tmp_path: Path, run: Any) -> None:
    path = saved(tmp_path, "small")
    ran: Ran = run(path, "-s", "0.5", "--trust-model", "--json")
    assert (ran.code, ran.err) == (0, "")
    report = json.loads(ran.out)
    assert report["output"] == str(tmp_path / "small.pruned.pt")
    assert report["verified"] == "torch loads it as TorchScript"
    assert [each["op"] for each in report["tensors"]] == ["conv2d", "conv2d", "linear"]
    ran = run("inspect", tmp_path / "small.pruned.pt", "--trust-model")
    assert ran.code == 0
    assert "50.0 %" in ran.out


def test_masks_go_from_one_form_to_the_other(tmp_path: Path, run: Any) -> None:
    path = saved(tmp_path, "small")
    assert run(path, "-s", "0.5", "--trust-model", "-q").code == 0
    masks, output = tmp_path / "masks.npz", tmp_path / "applied.pt2"
    words = ["mask", "export", tmp_path / "small.pruned.pt", "-o", masks]
    assert run(*words).code == 4
    assert run(*words, "--trust-model", "-q") == Ran(0, "", "")
    program = saved(tmp_path, "small", "program")
    assert run("mask", "apply", program, masks, "-o", output, "--trust-model", "-q").code == 0
    ran = run("mask", "compare", masks, output, "--trust-model", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["overlap"] == 1


METHODS = ("lamp", "global", "erk", "uniform", "uniform_plus", "min_threshold", "random")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_resnet20_has_the_masks_of_its_onnx_export(method: str, tmp_path: Path) -> None:
    script = shared.needs_models("resnet20", "traced.pt")
    export = shared.needs_models("resnet20", "ts_bn.onnx")
    for sparsity in (0.5, 0.9):
        one = onnxprune.prune(
            export, sparsity, method, output=tmp_path / "a.onnx", force=True, verify=False
        )
        two = pruned(script, sparsity, method, output=tmp_path / "b.pt", force=True)
        first, second = masks_of(one), masks_of(two)
        assert list(first) == list(second)
        assert all(np.array_equal(first[path], second[path]) for path in first)


@pytest.mark.parametrize("name", ["silero_vad/silero_vad.jit", "unitree_rl/g1_motion.pt"])
def test_real_files_with_state_compute_what_zeroed_weights_do(
    name: str, tmp_path: Path
) -> None:
    path = shared.needs_models(*name.split("/"))
    report = pruned(path, 0.7, "lamp", output=tmp_path / "out.pt")
    assert report.zeros == round(0.7 * report.size)
    wanted, found = loaded(path), loaded(tmp_path / "out.pt")
    state = dict(wanted.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for tensor, mask in masks_of(report).items():
            state[tensor].mul_(torch.from_numpy(mask).reshape(state[tensor].shape))
    torch.manual_seed(3)
    with quiet(), torch.no_grad():
        for _ in range(3):
            if "silero" in name:
                given: tuple[Any, ...] = (torch.randn(1, 512), 16000)
            else:
                given = (torch.randn(1, 47),)
            assert torch.equal(found(*given), wanted(*given))


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path, "small")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError) as caught:
        pruned(path)
    assert caught.value.message.endswith("not a whole zip archive")
