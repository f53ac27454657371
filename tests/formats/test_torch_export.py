import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from onnxprune.errors import InputError, LimitError, UnsupportedError, UsageError
from onnxprune.formats import torch_export
from onnxprune.formats.torch_export import Exported, export_onnx
from onnxprune.types import Array
from tests import shared
from tests.formats import torch_nets as nets

IMAGE = nets.numbers(2, 3, 8, 8)
ROWS = nets.numbers(2, 6)
STEPS = nets.numbers(2, 7, 6)
WORDS = np.arange(12).reshape(2, 6)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


def export(
    source: Path, module: nn.Module, *arguments: Array, names: Sequence[str] = ()
) -> tuple[Exported, onnx.ModelProto]:
    """Export a file, and compare what comes of it with the module and its weights."""
    output = source.with_name("model.onnx")
    weights = nets.weights(module)
    exported = export_onnx(source, arguments, output, weights, names)
    assert exported.error <= 1e-5
    assert exported.names.keys() == weights.keys()
    assert not exported.missing
    model = onnx.load(output)
    onnx.checker.check_model(model, full_check=True)
    stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for path, name in exported.names.items():
        assert np.array_equal(stored[name], weights[path])
    return exported, model


def run(model: onnx.ModelProto, *arguments: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [each.name for each in session.get_inputs()]
    found: list[Array] = session.run(None, dict(zip(names, arguments, strict=True)))
    return found


def assert_same(model: onnx.ModelProto, module: nn.Module, *arguments: Array) -> None:
    expected = nets.outputs(module, *arguments)
    for ours, theirs in zip(run(model, *arguments), expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def test_a_traced_net_keeps_its_normalisation_names_and_zeros(saved: Path) -> None:
    module = nets.pruned(nets.ConvNet())
    nets.traced(saved, module, torch.tensor(IMAGE))
    exported, model = export(saved, module, IMAGE)
    assert exported.route == "tracing"
    assert exported.names == {path: path for path in ("conv.weight", "head.weight")}
    assert "BatchNormalization" in operators(model)
    stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    weights = nets.weights(module)
    assert nets.zeros({path: stored[path] for path in weights}) == nets.zeros(weights) == 64
    assert [each.name for each in model.graph.input] == ["image"]
    assert [each.name for each in model.graph.output] == ["output"]


@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_may_have_any_size(saved: Path, size: int) -> None:
    module = nets.pruned(nets.ConvNet())
    nets.traced(saved, module, torch.tensor(IMAGE))
    _, model = export(saved, module, IMAGE[:size])
    for each in (*model.graph.input, *model.graph.output):
        assert each.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert_same(model, module, nets.numbers(5, 3, 8, 8, seed=1))


def test_both_branches_of_a_script_are_kept(saved: Path) -> None:
    module = nets.pruned(nets.Branches())
    nets.scripted(saved, module)
    _, model = export(saved, module, ROWS)
    assert "If" in operators(model)
    assert_same(model, module, np.abs(ROWS))
    assert_same(model, module, -np.abs(ROWS))


def test_a_frozen_net_gets_initializers_of_its_constants(saved: Path) -> None:
    module = nets.pruned(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)))
    nets.scripted(saved, module, frozen=True)
    exported, model = export(saved, module, IMAGE)
    assert exported.route == "tracing"
    assert exported.names == {path: path for path in ("0.weight", "2.weight")}
    assert_same(model, module, IMAGE)


def test_what_is_folded_away_is_missing(saved: Path) -> None:
    module = nets.pruned(nets.ConvNet())
    module.norm.running_var.fill_(4)  # type: ignore[union-attr, operator]
    nets.scripted(saved, module, frozen=True)
    output = saved.with_name("model.onnx")
    exported = export_onnx(saved, [IMAGE], output, nets.weights(module))
    assert exported.missing == ("conv.weight",)
    assert exported.names == {"head.weight": "head.weight"}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("script", [False, True])
def test_recurrent_layers_keep_their_weights(
    saved: Path, kind: type[nn.RNNBase], script: bool
) -> None:
    module = nets.pruned(nets.Recurrent(kind, bidirectional=True))
    if script:
        nets.scripted(saved, module)
    else:
        nets.traced(saved, module, torch.tensor(STEPS))
    exported, model = export(saved, module, STEPS)
    assert exported.route == "tracing"
    assert all(path == name for path, name in exported.names.items())
    assert kind.__name__ in operators(model)
    assert_same(model, module, nets.numbers(4, 7, 6, seed=1))


def test_a_transformer_layer_is_recorded(saved: Path) -> None:
    module = nets.pruned(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True))
    nets.scripted(saved, module)
    exported, model = export(saved, module, nets.numbers(2, 5, 16))
    assert exported.route == "make_fx"
    assert all(path == name for path, name in exported.names.items())
    assert_same(model, module, nets.numbers(2, 5, 16, seed=1))


def test_a_traced_transformer_layer_goes_through_torch_export(saved: Path) -> None:
    module = nets.pruned(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True))
    nets.traced(saved, module, torch.tensor(nets.numbers(2, 5, 16)))
    exported, model = export(saved, module, nets.numbers(1, 5, 16))
    assert exported.route == "torch.export"
    assert_same(model, module, nets.numbers(3, 5, 16, seed=1))


@pytest.mark.parametrize("script", [False, True])
def test_tied_weights_are_one_initializer(saved: Path, script: bool) -> None:
    module = nets.pruned(nets.Tied())
    if script:
        nets.scripted(saved, module)
    else:
        nets.traced(saved, module, torch.tensor(WORDS))
    exported, model = export(saved, module, WORDS)
    assert exported.names["table.weight"] == exported.names["head.weight"]
    assert sum(list(each.dims) == [20, 8] for each in model.graph.initializer) == 1
    assert_same(model, module, WORDS + 3)


def test_a_state_stays_as_it_is_in_the_file(saved: Path) -> None:
    module = nets.pruned(nets.Remembers())
    nets.scripted(saved, module)
    _, model = export(saved, module, ROWS[:1])
    assert_same(model, module, ROWS[:1])


def test_a_state_that_is_overwritten_in_place_stays_too(saved: Path) -> None:
    module = nets.pruned(nets.Overwrites())
    nets.scripted(saved, module)
    exported, model = export(saved, module, ROWS[:1])
    assert exported.route == "tracing"
    assert_same(model, module, ROWS[:1])


def test_a_state_of_one_size_fixes_the_batch(saved: Path) -> None:
    module = nets.pruned(nets.Overwrites())
    nets.scripted(saved, module)
    _, model = export(saved, module, ROWS[:1])
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_inputs_and_outputs_have_names_in_order(saved: Path) -> None:
    module = nets.pruned(nets.Two())
    nets.scripted(saved, module)
    _, model = export(saved, module, ROWS, ROWS + 1)
    assert [each.name for each in model.graph.input] == ["a", "b"]
    assert [each.name for each in model.graph.output] == ["output_0", "output_1", "output_2"]
    assert_same(model, module, ROWS - 1, ROWS)


def test_inputs_may_be_given_names(saved: Path) -> None:
    module = nets.pruned(nets.Two())
    nets.scripted(saved, module)
    _, model = export(saved, module, ROWS, ROWS, names=["left", "output_0x"])
    assert [each.name for each in model.graph.input] == ["left", "output_0x"]


def test_arguments_of_other_sizes_have_no_batch(saved: Path) -> None:
    module = nets.pruned(nets.Two())
    nets.scripted(saved, module)
    _, model = export(saved, module, ROWS, ROWS[:1])
    sizes = [each.type.tensor_type.shape.dim[0].dim_value for each in model.graph.input]
    assert sizes == [2, 1]


def test_a_python_number_is_an_input_of_a_script(saved: Path) -> None:
    module = nets.pruned(nets.Scaled())
    nets.scripted(saved, module)
    _, model = export(saved, module, ROWS, np.array(3))
    assert [each.name for each in model.graph.input] == ["x", "times"]
    found = run(model, ROWS, np.array(2))[0]
    with torch.no_grad():
        assert np.allclose(found, module(torch.tensor(ROWS), 2).numpy())


def test_a_program_keeps_its_names(tmp_path: Path) -> None:
    module = nets.pruned(nets.ConvNet())
    source = nets.program(tmp_path / "model.pt2", module, torch.tensor(IMAGE))
    exported, model = export(source, module, IMAGE)
    assert exported.route == "exported program"
    assert exported.names == {path: path for path in ("conv.weight", "head.weight")}
    assert "BatchNormalization" in operators(model)
    assert [each.name for each in model.graph.input] == ["image"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    assert_same(model, module, IMAGE + 1)


def test_a_program_keeps_its_batch(tmp_path: Path) -> None:
    module = nets.pruned(nets.ConvNet())
    sizes = ({0: torch.export.Dim("images", max=3)},)
    source = nets.program(
        tmp_path / "model.pt2", module, torch.tensor(IMAGE), dynamic_shapes=sizes
    )
    _, model = export(source, module, IMAGE)
    assert_same(model, module, IMAGE[:1])


def test_a_number_in_a_program_is_no_input(tmp_path: Path) -> None:
    module = nets.pruned(nets.Scaled())
    source = nets.program(tmp_path / "model.pt2", module, torch.tensor(ROWS), 3)
    _, model = export(source, module, ROWS, np.array(3))
    assert [each.name for each in model.graph.input] == ["x"]


@pytest.mark.parametrize("route", ["tracing", "torch.export", "make_fx"])
def test_every_route_gives_initializers_the_names_of_paths(
    saved: Path, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_export, "SCRIPT_ROUTES", (route,))
    module = nets.pruned(nets.ConvNet())
    nets.traced(saved, module, torch.tensor(IMAGE))
    exported, model = export(saved, module, IMAGE)
    assert exported.route == route
    assert exported.names == {path: path for path in ("conv.weight", "head.weight")}
    assert_same(model, module, nets.numbers(5, 3, 8, 8, seed=1))


def test_a_route_with_all_tensors_is_preferred(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nets.pruned(nets.ConvNet())
    nets.traced(saved, module, torch.tensor(IMAGE))
    convert = torch_export._convert_script

    def spoilt(*given: object) -> onnx.ModelProto:
        model = convert(*given)  # type: ignore[arg-type]
        heads = [each for each in model.graph.initializer if each.name == "head.weight"]
        values = numpy_helper.to_array(heads[0]) + np.float32(1e-9)
        heads[0].CopyFrom(numpy_helper.from_array(values, "head.weight"))
        return model

    monkeypatch.setattr(torch_export, "_convert_script", spoilt)
    exported, _ = export(saved, module, IMAGE)
    assert exported.route == "torch.export"
    monkeypatch.setattr(torch_export, "SCRIPT_ROUTES", ("tracing",))
    output = saved.with_name("model.onnx")
    alone = export_onnx(saved, [IMAGE], output, nets.weights(module))
    assert alone.missing == ("head.weight",)


def test_what_computes_something_else_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nets.pruned(nets.ConvNet())
    nets.traced(saved, module, torch.tensor(IMAGE))
    other = nets.traced(
        saved.with_name("other.pt"), nets.ConvNet().eval(), torch.tensor(IMAGE)
    )
    load, calls = torch_export.load_script, []

    def wrong(source: Path) -> object:
        calls.append(source)
        return load(source if len(calls) < 3 else other)

    monkeypatch.setattr(torch_export, "load_script", wrong)
    monkeypatch.setattr(torch_export, "SCRIPT_ROUTES", ("tracing",))
    with pytest.raises(UnsupportedError, match="ONNX Runtime computes something else"):
        export_onnx(saved, [IMAGE], saved.with_name("model.onnx"), {})
    assert not saved.with_name("model.onnx").exists()


def test_a_module_that_does_not_convert_is_refused_in_one_line(saved: Path) -> None:
    module = nets.pruned(nets.Eigenvalues())
    nets.scripted(saved, module)
    output = saved.with_name("model.onnx")
    with pytest.raises(
        UnsupportedError, match=r"does not convert to ONNX: No ONNX f"
    ) as caught:
        export_onnx(saved, [nets.numbers(6, 6)], output, nets.weights(module))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 210
    assert not output.exists()


def test_arguments_that_do_not_fit_are_said_so(saved: Path) -> None:
    nets.scripted(saved, nets.pruned(nets.ConvNet()))
    output = saved.with_name("model.onnx")
    with pytest.raises(UnsupportedError, match="does not run on the example arguments: Runt"):
        export_onnx(saved, [ROWS], output, {})
    with pytest.raises(UsageError, match="2 arguments, 0 names, but forward takes 1"):
        export_onnx(saved, [IMAGE, IMAGE], output, {})
    with pytest.raises(UsageError, match="1 arguments, 2 names, but forward takes 1"):
        export_onnx(saved, [IMAGE], output, {}, ["a", "b"])


def test_a_file_that_torch_cannot_read_is_refused(saved: Path) -> None:
    saved.write_bytes(b"no archive")
    with pytest.raises(InputError, match="torch cannot read the model: File is not a zip"):
        export_onnx(saved, [IMAGE], saved.with_name("model.onnx"), {})


def test_a_model_that_is_too_large_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_export, "LIMIT", 500)
    nets.scripted(saved, nets.pruned(nets.ConvNet()))
    output = saved.with_name("model.onnx")
    with pytest.raises(LimitError, match=r"too large for one ONNX file: it is over 1\.9 GiB"):
        export_onnx(saved, [IMAGE], output, {})
    monkeypatch.setattr(torch_export, "LIMIT", 1000)
    with pytest.raises(LimitError):
        export_onnx(saved, [IMAGE], output, {})
    assert not output.exists()


def test_nothing_is_printed_warned_or_logged(
    saved: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    module = nets.pruned(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True))
    nets.traced(saved, module, torch.tensor(nets.numbers(2, 5, 16)))
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export(saved, module, nets.numbers(2, 5, 16))
    printed = capfd.readouterr()
    assert printed == ("", "")
    assert not [each for each in caught if "torch" in each.filename]
    assert not [each for each in caplog.records if each.levelno >= logging.INFO]
    assert logging.root.manager.disable == 0
    print("said")
    print("told", file=sys.stderr)
    assert capfd.readouterr() == ("said\n", "told\n")


def weights_of(path: Path) -> dict[str, Array]:
    with warnings.catch_warnings(action="ignore"):
        module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return nets.weights(module)


def test_a_policy_with_a_state_keeps_its_layer(tmp_path: Path) -> None:
    source = shared.needs_models("unitree_rl", "g1_motion.pt")
    weights = weights_of(source)
    exported = export_onnx(source, [nets.numbers(1, 47)], tmp_path / "model.onnx", weights)
    assert exported.route == "tracing"
    assert not exported.missing
    assert exported.error <= 1e-5


def test_a_voice_detector_is_recorded_at_one_rate(tmp_path: Path) -> None:
    source = shared.needs_models("silero_vad", "silero_vad.jit")
    arguments = [nets.numbers(1, 512) / 10, np.array(16000)]
    weights = weights_of(source)
    exported = export_onnx(source, arguments, tmp_path / "model.onnx", weights)
    assert exported.route == "make_fx"
    assert len(exported.names) == len(exported.missing) == 7
    assert all(path.startswith("_model_8k.") for path in exported.missing)
    assert all(path == name for path, name in exported.names.items())
