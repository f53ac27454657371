"""Which weights give the model's outputs: what is met first on the way back from these."""

from pathlib import Path
from typing import Any

import onnx
import pytest

from onnxprune.formats.endings import ENDING, endings
from onnxprune.formats.onnx_file import load_onnx
from tests.models import constant, function, graph, model, node, save, weight

W, V = weight("w", 4, 6), weight("v", 6, 4)


def ended(folder: Path, proto: onnx.ModelProto) -> set[str]:
    with load_onnx(save(folder / "m.onnx", proto)) as opened:
        found = endings(opened)
        assert set(found.values()) <= {ENDING}
        return set(found)


ROWS = {"x": (2, 4)}
CASES: dict[str, tuple[list[Any], str, list[Any], set[str]]] = {
    "the last of two": (["Gemm x w -> h", "Gemm h v -> y"], "y", [W, V], {"v"}),
    "both, where one is looked at": (
        ["Gemm x w -> h", "Relu h -> z", "Gemm z v -> y"],
        "y z",
        [W, V],
        {"w", "v"},
    ),
    "through bias, activation, normalisation, softmax and reshape": (
        [
            *("Gemm x w -> h", "MatMul h v -> i", "Add i c -> j", "Relu j -> k"),
            *("LayerNormalization k c c -> l", "Softmax l -> m", "Reshape m s -> y"),
        ],
        "y",
        [W, V, weight("c", 4), constant("s", [-1], "i8")],
        {"v"},
    ),
    "two that are added": (
        ["Gemm x w -> h", "Gemm x u -> i", "Add h i -> y"],
        "y",
        [W, weight("u", 4, 6)],
        {"w", "u"},
    ),
    "not one whose size alone is used": (
        ["Gemm x w -> h", "Shape h -> y", "Gemm h v -> z"],
        "y z",
        [W, V],
        {"v"},
    ),
    "one weight used twice": (
        ["MatMul x q -> h", "Relu h -> i", "MatMul i q -> y"],
        "y",
        [weight("q", 4, 4)],
        {"q"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_weights_before_the_outputs_are_found(name: str, tmp_path: Path) -> None:
    nodes, outputs, tensors, expected = CASES[name]
    made = [node(text) for text in nodes]
    assert ended(tmp_path, model(made, ROWS, outputs, tensors)) == expected


def test_a_pooled_convolution_gives_the_outputs(tmp_path: Path) -> None:
    nodes = [node("Conv x a -> h"), node("Conv h b -> i"), node("GlobalAveragePool i -> y")]
    tensors = [weight("a", 6, 4, 3, 3), weight("b", 5, 6, 1, 1)]
    assert ended(tmp_path, model(nodes, {"x": (1, 4, 8, 8)}, "y", tensors)) == {"b"}


def test_functions_and_branches_are_gone_through(tmp_path: Path) -> None:
    body = function("last", "p -> q", [node("Gemm p v -> q")])
    body.node.insert(0, onnx.helper.make_node("Constant", [], ["v"], value=V))
    nodes = [node("Gemm x w -> h"), node("last h -> y", domain="local")]
    proto = model(nodes, ROWS, "y", [W], [body])
    assert ended(tmp_path, proto) == {"function:last/v"}
    one = graph([node("Gemm h v -> r")], None, "r", [V])
    other = graph([node("Identity h -> s")], None, "s")
    branch = node("If c -> y", "if", then_branch=one, else_branch=other)
    tensors = [W, constant("c", True, bool)]
    found = ended(tmp_path, model([node("Gemm x w -> h"), branch], ROWS, "y", tensors))
    assert found == {"w", "if.then_branch/v"}
