"""The whole of taking channels out: a file, whole or not at all, that computes the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxprune
from onnxprune import shrinking
from onnxprune.errors import (
    LibraryError,
    TargetError,
    UnsupportedError,
    UsageError,
)
from onnxprune.structure.surgery import Surgery
from tests import models
from tests.structure import nets
from tests.structure.cutting import TOLERANCE, apart, zero_filters


@pytest.fixture
def zeroed(tmp_path: Path) -> Path:
    """A net half of whose filters are zero."""
    return models.save(tmp_path / "net.onnx", zero_filters(nets.residual(), 0.5))


def test_a_file_loses_its_zero_channels(zeroed: Path) -> None:
    removal = onnxprune.shrink(zeroed, compressed_size=True)
    target = zeroed.with_name("net.shrunk.onnx")
    assert (removal.output, removal.files) == (str(target), (str(target),))
    assert apart(zeroed, target, {}) <= TOLERANCE
    groups = {group.producers: (group.before, group.after) for group in removal.groups}
    assert groups["stemc.w", "r1b.w"] == (12, 6)
    assert groups["y.w",] == (5, 5)
    assert removal.before - removal.removed == sum(after for _, after in groups.values())
    assert removal.parameters[1] == onnxprune.inspect(target).parameters
    assert removal.parameters[0] == onnxprune.inspect(zeroed).parameters
    assert removal.macs is not None
    assert removal.macs[1] < 0.4 * removal.macs[0]
    assert removal.sizes.before == zeroed.stat().st_size
    assert removal.sizes.after == target.stat().st_size
    assert removal.same is not None
    assert removal.same.largest <= removal.same.allowed == TOLERANCE
    assert removal.latency is not None
    assert removal.verified == "onnx.checker accepts it"


def test_what_was_shrunk_has_no_more_to_lose(zeroed: Path) -> None:
    onnxprune.shrink(zeroed, output=zeroed.with_name("once.onnx"))
    with pytest.raises(TargetError, match="no channel can be taken out") as error:
        onnxprune.shrink(zeroed.with_name("once.onnx"))
    assert error.value.hint == "zero channels stay because it reaches the model's output 'y'"


def test_a_model_without_zeros_is_told_how_it_gets_some(tmp_path: Path) -> None:
    path = models.save(tmp_path / "m.onnx", nets.residual())
    with pytest.raises(TargetError, match="no channel can be taken out") as error:
        onnxprune.shrink(path)
    assert (
        error.value.hint
        == "none is zero; onnxprune prune --pattern filters makes whole channels zero"
    )


def test_zeros_that_have_to_stay_are_explained(tmp_path: Path) -> None:
    net = nets.Net()
    net.conv(net.add("Softmax", net.conv("x", "a", 3, 8), out="s", axis=1), "y", 8, 2)
    path = models.save(tmp_path / "m.onnx", zero_filters(net.build(), 0.5))
    with pytest.raises(TargetError) as error:
        onnxprune.shrink(path)
    assert error.value.hint == "zero channels stay because Softmax 's' goes over it"
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


def test_a_rehearsal_writes_nothing(zeroed: Path) -> None:
    removal = onnxprune.shrink(zeroed, dry_run=True)
    assert (removal.output, removal.files, removal.sizes.after) == (None, (), None)
    assert removal.same is not None
    assert [each.name for each in zeroed.parent.iterdir()] == ["net.onnx"]


def test_other_samples_are_run(zeroed: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    trial = onnxprune.trial({"x": x}, device="cpu", latency=False)
    removal = onnxprune.shrink(zeroed, data=trial)
    assert removal.same is not None
    assert (removal.same.samples, removal.same.source) == (3, "arrays")
    assert removal.latency is None


def test_nothing_is_written_that_computes_something_else(
    zeroed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Surgery.cut

    def wrong(self: Surgery, name: str) -> onnx.TensorProto:
        made = cut(self, name)
        if name == "r1b.w":
            made.raw_data = bytes(len(made.raw_data))
        return made

    monkeypatch.setattr(Surgery, "cut", wrong)
    with pytest.raises(LibraryError, match="the model computes something else: output 'y'"):
        onnxprune.shrink(zeroed)
    assert [each.name for each in zeroed.parent.iterdir()] == ["net.onnx"]
    with_hope = onnxprune.shrink(zeroed, verify=False)
    assert with_hope.same is None
    assert with_hope.warnings == (
        "not verified: nobody saw that the smaller model computes the same",
    )


def test_a_model_with_an_operator_that_is_none_is_refused(tmp_path: Path) -> None:
    net = nets.Net()
    net.add("Nope", net.conv("x", "a", 3, 4), out="y")
    made = models.model(net.nodes, net.inputs, "y", net.tensors)
    path = models.save(tmp_path / "m.onnx", made)
    with pytest.raises(UnsupportedError, match="operator 'Nope' is not in opset"):
        onnxprune.shrink(path)


def test_outputs_are_refused_before_any_work(zeroed: Path) -> None:
    with pytest.raises(UsageError, match="exists"):
        taken = zeroed.with_name("taken.onnx")
        taken.write_bytes(b"mine")
        onnxprune.shrink(zeroed, output=taken)
    with pytest.raises(UsageError, match="the output is the input"):
        onnxprune.shrink(zeroed, output=zeroed, force=True)
    assert taken.read_bytes() == b"mine"
    onnxprune.shrink(zeroed, output=taken, force=True, verify=False)
    assert onnx.load(taken).graph.node


def test_a_training_in_the_file_is_refused(zeroed: Path) -> None:
    model = onnx.load(zeroed)
    model.training_info.add()
    models.save(zeroed, model)
    with pytest.raises(UnsupportedError, match="it holds a training"):
        onnxprune.shrink(zeroed, verify=False)


def test_the_sum_of_macs_is_not_known_where_one_is_not(zeroed: Path) -> None:
    with shrinking.load_model(zeroed) as opened:
        assert isinstance(opened, shrinking.OnnxModel)
        opened.weights = [replace(each, macs=5) for each in opened.weights[:2]]
        assert shrinking.total_macs(opened) == 10
        opened.weights.append(replace(opened.weights[0], macs=None))
        assert shrinking.total_macs(opened) is None
