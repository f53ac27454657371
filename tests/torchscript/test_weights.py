"""What is a weight in a file of torch's, how it is read, and what is left alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from onnxprune.errors import InputError, UnsafeError
from onnxprune.formats import torch_file
from onnxprune.formats.torch_file import TorchModel, load_torch
from onnxprune.formats.torch_surveying import Survey
from onnxprune.formats.trust import trusting
from tests.torchscript.nets import loaded, made, quiet, saved


def opened(path: Path) -> TorchModel:
    with trusting(True):
        return load_torch(path)


def reasons(model: TorchModel) -> dict[str, str]:
    return {each.name: each.reason for each in model.skipped}


def test_without_trust_nothing_is_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path, "small")
    with pytest.raises(UnsafeError) as caught:
        load_torch(path)
    assert caught.value.message == (
        "TorchScript is a program, and to load it is to run it: it could do anything"
    )
    assert caught.value.hint == "--trust-model takes a file whose maker you trust"
    with trusting(True), trusting(False):
        load_torch(path).close()
    with pytest.raises(UnsafeError):
        load_torch(path)


@pytest.mark.parametrize("way", ["script", "trace", "program"])
def test_parameters_that_operators_multiply_with_are_weights(tmp_path: Path, way: str) -> None:
    with opened(saved(tmp_path, "small", way)) as model:
        shapes = {weight.path: weight.shape for weight in model.weights}
        assert shapes == {
            "conv.weight": (8, 3, 3, 3),
            "depth.weight": (8, 1, 3, 3),
            "head.weight": (5, 8),
        }
        layouts = {weight.path: weight.layout for weight in model.weights}
        assert layouts["conv.weight"].outputs == (0,)
        assert layouts["conv.weight"].inputs == (1,)
        assert layouts["conv.weight"].kernel == (2, 3)
        found = reasons(model)
        assert found["basis"] == "a buffer, which is not trained"
        assert found["norm.weight"] == "normalisation"
        assert found["head.bias"] == "bias"
        assert model.survey.inputs == ("x",)


def test_a_frozen_script_has_the_names_that_its_text_has(tmp_path: Path) -> None:
    path = saved(tmp_path, "choosing", "frozen")
    with opened(path) as model:
        assert all(weight.path.startswith("CONSTANTS.c") for weight in model.weights)
        assert sorted(weight.shape for weight in model.weights) == [(4, 6), (4, 6)]
        found = [model.values(w.path, 0, w.size).tolist() for w in model.weights]
    net, _ = made("choosing")
    wanted = [each.weight.detach().reshape(-1).tolist() for each in (net.one, net.two)]
    assert sorted(found) == sorted(wanted)


def test_all_ways_through_a_script_are_looked_at(tmp_path: Path) -> None:
    with opened(saved(tmp_path, "choosing")) as model:
        assert [weight.path for weight in model.weights] == ["one.weight", "two.weight"]
        assert reasons(model)["scale"] == "multiplied (a scale)"


def test_recurrent_layers_are_read_through_their_lists(tmp_path: Path) -> None:
    with opened(saved(tmp_path, "remembering")) as model:
        assert [weight.path for weight in model.weights] == [
            "memory.weight_ih_l0",
            "memory.weight_hh_l0",
            "head.weight",
        ]
        found = reasons(model)
        assert found["memory.bias_ih_l0"] == "bias"
        assert found["hidden"] == "a buffer, which is not trained"
    with opened(saved(tmp_path, "gru", "trace")) as model:
        shapes = [weight.shape for weight in model.weights]
        assert shapes == [(15, 6), (15, 5), (15, 5), (15, 5)]


@pytest.mark.parametrize("way", ["script", "trace", "program"])
def test_tied_tensors_are_one_table(tmp_path: Path, way: str) -> None:
    with opened(saved(tmp_path, "tied", way)) as model:
        table, layer = model.weights
        assert (table.path, table.embedding) == ("table.weight", True)
        assert (layer.path, layer.embedding) == ("layer.weight", False)
        assert model.parameters == 66 + 36 + 6


@pytest.mark.parametrize("way", ["script", "program"])
def test_products_are_read_on_the_side_they_are_on(tmp_path: Path, way: str) -> None:
    with opened(saved(tmp_path, "products", way)) as model:
        layouts = {
            weight.path: (weight.layout.outputs, weight.layout.inputs)
            for weight in model.weights
        }
        assert layouts["left"] == ((0,), (1,))
        assert layouts["right"] == ((1,), (0,))
        assert layouts["three"] == ((0,), (1,))
        assert layouts["summed"] == ((0, 2), (1,))
        up = next(weight.layout for weight in model.weights if weight.path == "up.weight")
        assert (up.shape, up.outputs, up.inputs) == ((2, 2, 3, 3), (0, 2), (1,))


def test_what_lies_in_another_order_is_read_and_named_as_it_lies(tmp_path: Path) -> None:
    net = torch.nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    path = tmp_path / "net.pt"
    with quiet():
        torch.jit.save(torch.jit.trace(net, torch.randn(1, 3, 4, 4)), path)
    with opened(path) as model:
        (weight,) = model.weights
        assert weight.shape == (4, 2, 2, 3)
        assert weight.layout.outputs == (0,)
        assert weight.layout.inputs == (3,)
        values = model.values("weight", 0, weight.size).reshape(weight.shape)
        wanted = net.weight.detach().permute(0, 2, 3, 1).numpy()
        assert np.array_equal(values, wanted)
        assert model.warnings == ["'weight' lies in another order than its sizes: as 4x2x2x3"]


def test_half_precision_is_read_as_it_is(tmp_path: Path) -> None:
    net = torch.nn.Linear(4, 3).bfloat16()
    path = tmp_path / "net.pt"
    with quiet():
        torch.jit.save(torch.jit.script(net), path)
    with opened(path) as model:
        (weight,) = model.weights
        assert weight.dtype == "bfloat16"
        wanted = net.weight.detach().float().reshape(-1).numpy()
        assert np.array_equal(model.values("weight", 0, 12), wanted)


def test_the_file_is_what_torch_loads(tmp_path: Path) -> None:
    path = saved(tmp_path, "products")
    with opened(path) as model:
        state = dict(loaded(path).named_parameters())
        for weight in model.weights:
            wanted = state[weight.path].detach().reshape(-1).numpy()
            assert np.array_equal(model.values(weight.path, 0, weight.size), wanted)


def test_sparse_buffers_are_no_hindrance(tmp_path: Path) -> None:
    net = torch.nn.Linear(4, 3)
    for name, layout in (("a", torch.sparse_coo), ("b", torch.sparse_csr)):
        with quiet():
            net.register_buffer(name, torch.eye(3).to_sparse(layout=layout))
    path = tmp_path / "net.pt"
    with quiet():
        try:
            torch.jit.save(torch.jit.trace(net, torch.randn(2, 4)), path)
        except RuntimeError as error:
            pytest.skip(f"torch does not save it: {error}")
    with opened(path) as model:
        assert [weight.path for weight in model.weights] == ["weight"]


def test_a_file_that_is_replaced_while_it_is_looked_at_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, "small")
    known = torch_file.survey

    def replaced(file: Path, program: bool) -> Survey:
        found = known(file, program)
        copy = file.with_suffix(".new")
        copy.write_bytes(file.read_bytes())
        copy.replace(file)
        return found

    monkeypatch.setattr(torch_file, "survey", replaced)
    with pytest.raises(InputError, match=r"small\.pt changed while it was read"):
        opened(path)


def test_what_freezing_left_of_parameters_hides_no_constants(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with quiet():
        scripted = torch.jit.script(torch.nn.MultiheadAttention(8, 2, batch_first=True).eval())
        torch.jit.save(torch.jit.freeze(scripted), path)
    with opened(path) as model:
        shapes = sorted(weight.shape for weight in model.weights)
        assert shapes == [(8, 8), (24, 8)]
        assert any(weight.path.startswith("CONSTANTS.c") for weight in model.weights)
