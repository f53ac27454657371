"""Files of torch's with other values: weights, biases, and what normalises."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from onnxprune.errors import UnsupportedError
from onnxprune.formats.edits import Edit
from onnxprune.formats.saving import Saving
from onnxprune.formats.torch_file import TorchModel, load_torch
from onnxprune.formats.trust import trusting
from tests.torchscript.nets import loaded, made, quiet, saved


def edited(model: TorchModel, output: Path) -> dict[str, Any]:
    """Give every tensor that may change other values, and weights some zeros."""
    random = np.random.default_rng(4)
    weights = {weight.path for weight in model.weights}
    given, edits = {}, {}
    for path, region in model.regions.items():
        if model.editable(path) is not None:
            continue
        values = random.uniform(0.5, 1.5, region.size).astype("f4")
        pruner = None
        if path in weights:
            pruner = fallen
        edits[path] = Edit(pruner, values)
        given[path] = np.where(fallen(0, values), 0, values) if path in weights else values
    Saving(model, output, edits, verify=False).run()
    return given


def fallen(start: int, values: Any) -> Any:
    return np.arange(start, start + values.size) % 2 == 0


@pytest.mark.parametrize(
    ("name", "way"),
    [("small", "script"), ("small", "program"), ("tied", "trace")],
)
def test_every_tensor_of_floats_takes_new_values(name: str, way: str, tmp_path: Path) -> None:
    path = saved(tmp_path, name, way)
    output = path.with_name(f"out{path.suffix}")
    with trusting(True), load_torch(path) as model:
        given = edited(model, output)
        names = {alias: key for key in given for alias in model.regions[key].paths}
        allowed: set[int] = set()
        for key, values in given.items():
            start = model.stored(key).offset
            assert start is not None
            allowed |= set(range(start, start + values.nbytes))
            for at in model.archive.members[model.regions[key].key].sums:
                allowed |= set(range(at, at + 4))
    net, sample = made(name)
    state = net.state_dict()
    floats = {key for key, value in state.items() if value.is_floating_point()}
    assert floats <= names.keys()
    for key in floats:
        state[key] = torch.from_numpy(given[names[key]]).reshape(state[key].shape)
    net.load_state_dict(state)
    with quiet(), torch.no_grad():
        assert torch.allclose(loaded(output)(sample), net(sample), atol=1e-5)
    before, after = path.read_bytes(), output.read_bytes()
    assert len(before) == len(after)
    assert {at for at in range(len(before)) if before[at] != after[at]} <= allowed
    with zipfile.ZipFile(output) as archive:
        assert archive.testzip() is None


def test_constants_of_a_frozen_script_take_new_values(tmp_path: Path) -> None:
    path = saved(tmp_path, "small", "frozen")
    output = tmp_path / "out.pt"
    with trusting(True), load_torch(path) as model:
        given = edited(model, output)
        assert len(given) > len(model.weights)
        with model.reopen(output, {}, False) as written:
            for key, values in given.items():
                assert np.array_equal(written.values(key, 0, values.size), values)


def test_a_tensor_has_one_name_to_be_edited_by(tmp_path: Path) -> None:
    path = saved(tmp_path, "tied")
    with trusting(True), load_torch(path) as model:
        (region,) = {id(r): r for r in model.regions.values() if len(r.paths) > 1}.values()
        first, second = region.paths
        assert model.editable(first) is None
        assert model.editable(second) == f"is another name of '{first}'"
        assert model.editable("nothing") is not None
        assert model.stored(second).offset == model.stored(first).offset


def test_values_that_are_seen_elsewhere_are_not_edited(tmp_path: Path) -> None:
    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.register_buffer("part", self.layer.bias.detach()[::2])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)[:, :2] + self.part

    path = tmp_path / "net.pt"
    with quiet():
        torch.jit.save(torch.jit.trace(Seen(), torch.randn(1, 4)), path)
    with trusting(True), load_torch(path) as model:
        assert model.editable("layer.weight") is None
        reason = "shares bytes with 'part', which is not pruned"
        assert model.editable("layer.bias") == reason
        assert model.editable("part") is not None
        with pytest.raises(UnsupportedError, match="'layer\\.bias' shares bytes with 'part'"):
            Saving(model, tmp_path / "out.pt", {"layer.bias": Edit(values=np.ones(4))}).run()
        additions = {"layer.weight": np.ones(4)}
        with pytest.raises(UnsupportedError, match="in an ONNX model only"):
            Saving(model, tmp_path / "out.pt", {}, additions=additions).run()
