from pathlib import Path

import onnx
import pytest

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.reimport.roles import is_trainable
from tests import models
from tests.models import constant, model, node


def trainable(tmp_path: Path, proto: onnx.ModelProto) -> set[str]:
    with load_onnx(models.save(tmp_path / "m.onnx", proto)) as opened:
        graph = opened.graph
        return {each.path for each in graph.constants if is_trainable(graph, each)}


@pytest.mark.parametrize(
    "text",
    [
        "Resize x _ k -> y",
        "Upsample x k -> y",
        "Clip x k -> y",
        "Pow x k -> y",
        "Equal x k -> y",
        "Range k k k -> y",
        "QuantizeLinear x k -> y",
        "DequantizeLinear x k -> y",
        "BatchNormalization x x x k k -> y",
        "SoftmaxCrossEntropyLoss x l k -> y",
        "QLinearMul x k l x k l k l -> y",
    ],
)
def test_settings_are_not_trained(tmp_path: Path, text: str) -> None:
    tensors = [constant("k", [1, 2])]
    assert (
        trainable(tmp_path, model([node(text)], {"x": [2], "l": [2]}, "y", tensors)) == set()
    )


@pytest.mark.parametrize(
    "text",
    ["Add x k -> y", "PRelu x k -> y", "BatchNormalization x k k x x -> y", "Conv x x k -> y"],
)
def test_weights_and_biases_are_trained(tmp_path: Path, text: str) -> None:
    assert trainable(
        tmp_path, model([node(text)], {"x": [2]}, "y", [constant("k", [1, 2])])
    ) == {"k"}


def test_a_single_number_is_not_trained_but_a_vector_of_one_is(tmp_path: Path) -> None:
    nodes = [node("Mul x number -> h"), node("Add h vector -> y")]
    tensors = [constant("number", 2), constant("vector", [1])]
    assert trainable(tmp_path, model(nodes, {"x": [2]}, "y", tensors)) == {"vector"}


def test_a_setting_that_is_moved_first_is_still_one(tmp_path: Path) -> None:
    nodes = [
        node("Cast k -> c", to=1),
        node("Transpose c -> t"),
        node("Resize x _ t -> y"),
    ]
    assert trainable(tmp_path, model(nodes, {"x": [2]}, "y", [constant("k", [1, 2])])) == set()


def test_one_use_that_trains_is_enough(tmp_path: Path) -> None:
    nodes = [node("Pow x k -> h"), node("Add h k -> y")]
    assert trainable(tmp_path, model(nodes, {"x": [2]}, "y", [constant("k", [1, 2])])) == {"k"}


def test_a_setting_inside_a_function_is_found_there(tmp_path: Path) -> None:
    function = models.function("Bound", "a k -> b", [node("Clip a k -> b")])
    proto = model(
        [node("Bound x k -> y", domain="local")],
        {"x": [2]},
        "y",
        [constant("k", [1])],
        [function],
    )
    assert trainable(tmp_path, proto) == set()
