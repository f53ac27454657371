"""What a loss looks at, found in graphs."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from onnxprune.errors import UnsupportedError, UsageError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.statistics.targets import Target, find_target
from tests import models
from tests.models import node, weight

KINDS = {"FLOAT": TensorProto.FLOAT, "INT64": TensorProto.INT64}


def found(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    outputs: str = "y",
    kinds: Sequence[str] = ("FLOAT",),
    opset: int = 21,
    wanted: str | None = None,
    raw: bool = False,
) -> Target:
    proto = models.model(nodes, {"x": ["N", 3]}, outputs, [weight("w", 3, 4)])
    for port, kind in zip(proto.graph.output, kinds, strict=True):
        port.type.tensor_type.elem_type = KINDS[kind]
    proto.opset_import[0].version = opset
    with load_onnx(models.save(folder / "model.onnx", proto)) as model:
        return find_target(model, wanted, raw)


SCORES = node("MatMul x w -> scores", "dense")


def test_plain_scores_are_taken_as_they_are(tmp_path: Path) -> None:
    assert found(tmp_path, [node("MatMul x w -> y")]) == Target("y", "y")
    assert not found(tmp_path, [node("MatMul x w -> y")]).inside


@pytest.mark.parametrize("last", ["Softmax", "LogSoftmax"])
def test_before_a_softmax_there_are_scores(tmp_path: Path, last: str) -> None:
    nodes = [SCORES, node(f"{last} scores -> shares", axis=1), node("Identity shares -> y")]
    assert found(tmp_path, nodes) == Target("scores", "y", "scores", 1)
    assert found(tmp_path, nodes).inside
    assert found(tmp_path, [SCORES, node(f"{last} scores -> y")]).axis == -1


def test_an_old_softmax_goes_over_more_than_one_axis(tmp_path: Path) -> None:
    nodes = [SCORES, node("Softmax scores -> y", axis=1)]
    assert found(tmp_path, nodes, opset=11) == Target("scores", "y", "scores", None)


def test_behind_a_change_of_shape_the_output_itself_is_taken(tmp_path: Path) -> None:
    behind = node("Unsqueeze shares axes -> y")
    nodes = [SCORES, node("Constant -> axes", value_ints=[2])]
    for last, kind in (("Softmax", "probabilities"), ("LogSoftmax", "scores")):
        whole = [*nodes, node(f"{last} scores -> shares"), behind]
        assert found(tmp_path, whole) == Target("y", "y", kind)


@pytest.mark.parametrize("gate", ["Sigmoid", "HardSigmoid"])
def test_gates_make_shares_that_need_not_add_up(tmp_path: Path, gate: str) -> None:
    nodes = [SCORES, node(f"{gate} scores -> y")]
    assert found(tmp_path, nodes) == Target("y", "y", "shares")


def test_before_the_place_of_the_largest_there_are_scores(tmp_path: Path) -> None:
    place = node("ArgMax scores -> place", axis=1)
    nodes = [SCORES, place, node("Cast place -> y", to=TensorProto.INT64)]
    assert found(tmp_path, nodes, kinds=["INT64"]) == Target("scores", "y", "unknown", 1)
    softmax = [
        SCORES,
        node("Softmax scores -> shares"),
        node("ArgMax shares -> y", axis=1),
    ]
    assert found(tmp_path, softmax, kinds=["INT64"]) == Target("scores", "y", "scores", 1)
    gate = [SCORES, node("Sigmoid scores -> shares"), node("ArgMax shares -> y", axis=1)]
    assert found(tmp_path, gate, kinds=["INT64"]) == Target("shares", "y", "shares", 1)


def test_a_choice_between_a_constant_and_the_place_of_the_largest_is_looked_through(
    tmp_path: Path,
) -> None:
    nodes = [
        SCORES,
        node("Softmax scores -> shares", axis=1),
        node("ReduceMax shares -> best", axes=[1], keepdims=0),
        node("Constant -> least", value_float=0.5),
        node("Less best least -> low"),
        node("ArgMax shares -> place", axis=1, keepdims=0),
        node("Constant -> none", value_int=-1),
        node("Where low none place -> y"),
    ]
    target = Target("scores", "y", "scores", 1)
    assert found(tmp_path, nodes, kinds=["INT64"], opset=17) == target
    masked = [SCORES, node("Constant -> none", value_float=0.0)]
    masked += [node("Greater scores none -> high"), node("Where high scores none -> y")]
    assert found(tmp_path, masked) == Target("y", "y")


def test_an_output_of_floats_comes_before_one_of_places(tmp_path: Path) -> None:
    nodes = [
        SCORES,
        node("Softmax scores -> shares"),
        node("ArgMax shares -> place", axis=1),
    ]
    both = found(tmp_path, nodes, "place shares", ["INT64", "FLOAT"])
    assert both == Target("scores", "shares", "scores", -1)
    asked = found(tmp_path, nodes, "place shares", ["INT64", "FLOAT"], wanted="place")
    assert asked == Target("scores", "place", "scores", 1)


def test_a_loss_of_values_takes_the_output_itself(tmp_path: Path) -> None:
    nodes = [SCORES, node("Softmax scores -> y")]
    assert found(tmp_path, nodes, raw=True) == Target("y", "y", "values")


def test_an_output_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        found(tmp_path, [node("MatMul x w -> y")], wanted="z")
    assert caught.value.message == "the model has no output 'z'"
    assert caught.value.hint == "it has 'y'"


def test_whole_numbers_that_are_no_places_are_refused(tmp_path: Path) -> None:
    nodes = [SCORES, node("Cast scores -> y", to=TensorProto.INT64)]
    with pytest.raises(UnsupportedError) as caught:
        found(tmp_path, nodes, kinds=["INT64"])
    assert caught.value.message == (
        "output 'y' is no value that a loss could be of: it is not of floats, nor the place"
        " of the largest of some"
    )
