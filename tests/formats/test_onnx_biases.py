"""What stands behind weights: every form in which a bias or a normalisation may come."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxprune.formats.onnx_biases import Surroundings, surroundings
from onnxprune.formats.onnx_file import load_onnx
from tests import models

NORM = [models.weight(name, 6) for name in ("s", "b", "m", "v")]


def around(
    folder: Path,
    nodes: Sequence[str | onnx.NodeProto],
    tensors: Sequence[onnx.TensorProto],
    shape: Sequence[int | str] = (2, 4),
    outputs: str = "y",
    opset: int = 21,
) -> Surroundings | None:
    """Return what stands behind the weight `w`."""
    made = [models.node(each) if isinstance(each, str) else each for each in nodes]
    proto = models.model(made, {"x": shape}, outputs, tensors)
    proto.opset_import[0].version = opset
    with load_onnx(models.save(folder / "m.onnx", proto)) as model:
        return surroundings(model, "w")


def told(found: Surroundings | None) -> tuple[Any, ...] | None:
    if found is None:
        return None
    return found.bias, found.normalisation is not None, found.creatable, found.scale


IMAGE = (1, 4, 8, 8)
CONV = models.weight("w", 6, 4, 3, 3)
GEMM = models.weight("w", 4, 6)
BIAS = models.weight("c", 6)


def gemm(text: str, **attributes: Any) -> onnx.NodeProto:
    return models.node(text, **attributes)


CASES: dict[str, tuple[list[Any], list[onnx.TensorProto], Any, Any]] = {
    "conv": (["Conv x w -> y"], [CONV], IMAGE, (None, False, True, 1.0)),
    "conv with an empty name": (["Conv x w _ -> y"], [CONV], IMAGE, (None, False, True, 1.0)),
    "conv with a bias": (["Conv x w c -> y"], [CONV, BIAS], IMAGE, ("c", False, False, 1.0)),
    "conv with a bias of two": (
        ["Conv x w c -> h", "Add h c3 -> i", "Conv x v c -> y"],
        [CONV, BIAS, models.weight("v", 6, 4, 3, 3), models.weight("c3", 6, 1, 1)],
        IMAGE,
        (None, False, False, 1.0),
    ),
    "conv with a bias that is computed": (
        ["Relu c -> d", "Conv x w d -> y"],
        [CONV, BIAS],
        IMAGE,
        (None, False, False, 1.0),
    ),
    "conv and a sum": (
        ["Conv x w -> h", "Add h c -> y"],
        [CONV, models.weight("c", 1, 6, 1, 1)],
        IMAGE,
        ("c", False, False, 1.0),
    ),
    "conv and a sum of three dimensions": (
        ["Conv x w -> h", "Add c h -> y"],
        [CONV, models.weight("c", 6, 1, 1)],
        IMAGE,
        ("c", False, False, 1.0),
    ),
    "conv and a sum along the width": (
        ["Conv x w -> h", "Add h c -> y"],
        [CONV, BIAS],
        IMAGE,
        (None, False, True, 1.0),
    ),
    "conv and a normalisation": (
        ["Conv x w -> h", "BatchNormalization h s b m v -> y"],
        [CONV, *NORM],
        IMAGE,
        (None, True, True, 1.0),
    ),
    "conv with a bias, a sum and a normalisation": (
        ["Conv x w -> h", "Add h c -> i", "BatchNormalization i s b m v -> y"],
        [CONV, models.weight("c", 6, 1, 1), *NORM],
        IMAGE,
        ("c", True, False, 1.0),
    ),
    "conv with a bias and a normalisation": (
        ["Conv x w c -> h", "BatchNormalization h s b m v -> y"],
        [CONV, BIAS, *NORM],
        IMAGE,
        ("c", True, False, 1.0),
    ),
    "a normalisation of shared parameters": (
        ["Conv x w -> h", "BatchNormalization h s s m v -> y"],
        [CONV, *NORM],
        IMAGE,
        (None, False, True, 1.0),
    ),
    "a normalisation that is computed": (
        ["Relu m -> n", "Conv x w -> h", "BatchNormalization h s b n v -> y"],
        [CONV, *NORM],
        IMAGE,
        (None, False, True, 1.0),
    ),
    "a normalisation in training": (
        ["Conv x w -> h", gemm("BatchNormalization h s b m v -> y", training_mode=1)],
        [CONV, *NORM],
        IMAGE,
        (None, False, True, 1.0),
    ),
    "a normalisation that gives its mean": (
        ["Conv x w -> h", gemm("BatchNormalization h s b m v -> y n o", training_mode=1)],
        [CONV, *NORM],
        IMAGE,
        (None, False, True, 1.0),
    ),
    "two readers": (
        ["Conv x w -> h", "BatchNormalization h s b m v -> i", "Add h i -> y"],
        [CONV, *NORM],
        IMAGE,
        (None, False, True, 1.0),
    ),
    "a transposed conv": (
        ["ConvTranspose x w c -> y"],
        [models.weight("w", 4, 6, 3, 3), BIAS],
        IMAGE,
        ("c", False, False, 1.0),
    ),
    "a transposed conv in groups": (
        [gemm("ConvTranspose x w c -> y", group=2)],
        [models.weight("w", 4, 3, 3, 3), BIAS],
        IMAGE,
        ("c", False, False, 1.0),
    ),
    "a transposed conv in groups that do not fit": (
        ["Identity w -> v", gemm("ConvTranspose x v c -> y", group=3)],
        [models.weight("w", 4, 3, 3, 3), BIAS],
        IMAGE,
        None,
    ),
    "a conv of one dimension": (
        ["Conv x w -> h", "Add h c -> y"],
        [models.weight("w", 6, 4, 3), models.weight("c", 6, 1)],
        (1, 4, 8),
        ("c", False, False, 1.0),
    ),
    "gemm": (["Gemm x w -> y"], [GEMM], (2, 4), (None, False, True, 1.0)),
    "gemm with a bias": (["Gemm x w c -> y"], [GEMM, BIAS], (2, 4), ("c", False, False, 1.0)),
    "gemm with a row": (
        [gemm("Gemm x w c -> y", beta=0.5)],
        [GEMM, models.weight("c", 1, 6)],
        (2, 4),
        ("c", False, False, 0.5),
    ),
    "gemm turned": (
        [gemm("Gemm x w c -> y", transB=1)],
        [models.weight("w", 6, 4), BIAS],
        (2, 4),
        ("c", False, False, 1.0),
    ),
    "gemm with a matrix": (
        ["Gemm x w c -> y"],
        [GEMM, models.weight("c", 2, 6)],
        (2, 4),
        (None, False, False, 1.0),
    ),
    "gemm with one number": (
        ["Gemm x w c -> y"],
        [GEMM, models.constant("c", 1.0)],
        (2, 4),
        (None, False, False, 1.0),
    ),
    "gemm that adds nothing": (
        [gemm("Gemm x w c -> y", beta=0.0)],
        [GEMM, BIAS],
        (2, 4),
        (None, False, False, 0.0),
    ),
    "gemm that would add nothing": (
        [gemm("Gemm x w -> y", beta=0.0)],
        [GEMM],
        (2, 4),
        (None, False, False, 0.0),
    ),
    "gemm and a normalisation": (
        ["Gemm x w c -> h", "BatchNormalization h s b m v -> y"],
        [GEMM, BIAS, *NORM],
        (2, 4),
        ("c", True, False, 1.0),
    ),
    "gemm from the left": (
        ["Gemm w x -> y"],
        [models.weight("w", 6, 4)],
        (4, 3),
        None,
    ),
    "matmul": (["MatMul x w -> y"], [GEMM], (2, 4), (None, False, True, 1.0)),
    "matmul and a sum": (
        ["MatMul x w -> h", "Add c h -> y"],
        [GEMM, BIAS],
        (2, 3, 4),
        ("c", False, False, 1.0),
    ),
    "matmul and a sum of more dimensions": (
        ["MatMul x w -> h", "Add h c -> y"],
        [GEMM, models.weight("c", 1, 1, 6)],
        (2, 3, 4),
        ("c", False, False, 1.0),
    ),
    "matmul and a residual": (
        ["MatMul x w -> h", "Relu h2 -> r", "Add h r -> y", "MatMul x u -> h2"],
        [GEMM, models.weight("u", 4, 6)],
        (2, 4),
        (None, False, True, 1.0),
    ),
    "matmul and positions": (
        ["MatMul x w -> h", "Add h c -> y"],
        [GEMM, models.weight("c", 2, 6)],
        (2, 4),
        (None, False, False, 1.0),
    ),
    "matmul and a sum that others share": (
        ["MatMul x w -> h", "Add h c -> y", "Add x2 c -> z", "MatMul x u -> x2"],
        [GEMM, BIAS, models.weight("u", 4, 6)],
        (2, 4),
        (None, False, False, 1.0),
    ),
    "matmul and a normalisation": (
        ["MatMul x w -> h", "BatchNormalization h s b m v -> y"],
        [GEMM, *NORM],
        (2, 4),
        (None, True, True, 1.0),
    ),
    "matmul, a sum and a normalisation": (
        ["MatMul x w -> h", "Add h c -> i", "BatchNormalization i s b m v -> y"],
        [GEMM, BIAS, *NORM],
        (2, 4),
        ("c", True, False, 1.0),
    ),
    "matmul, a wide sum and a normalisation": (
        ["MatMul x w -> h", "Add h c -> i", "BatchNormalization i s b m v -> y"],
        [GEMM, models.weight("c", 1, 1, 6), *NORM],
        (2, 4),
        ("c", False, False, 1.0),
    ),
    "matmul and a normalisation of rows": (
        ["MatMul x w -> h", "BatchNormalization h s b m v -> y"],
        [GEMM, *NORM],
        (2, 6, 4),
        (None, False, True, 1.0),
    ),
    "matmul from the left": (
        ["MatMul w x -> y"],
        [models.weight("w", 6, 4)],
        (4, 3),
        None,
    ),
    "matmul of batches": (
        ["MatMul x w -> y"],
        [models.weight("w", 3, 4, 6)],
        (3, 2, 4),
        None,
    ),
    "matmul twice": (
        ["MatMul x w -> h", "MatMul h w -> y"],
        [models.weight("w", 4, 4)],
        (2, 4),
        None,
    ),
    "matmul of a part": (
        ["Slice w a o -> p", "MatMul x p -> y"],
        [
            models.weight("w", 8, 6),
            models.constant("a", [0], np.int64),
            models.constant("o", [4], np.int64),
        ],
        (2, 4),
        None,
    ),
    "matmul that is turned": (
        ["Transpose w -> t", "MatMul x t -> h", "Add h c -> y"],
        [models.weight("w", 6, 4), BIAS],
        (2, 4),
        ("c", False, False, 1.0),
    ),
    "half precision": (
        [gemm("Cast w -> wide", to=1), "MatMul x wide -> y"],
        [models.weight("w", 4, 6, dtype=np.float16)],
        (2, 4),
        (None, False, True, 1.0),
    ),
    "quantised": (
        ["DequantizeLinear w scale zero -> d", "MatMul x d -> y"],
        [
            models.weight("w", 4, 6, dtype=np.int8),
            models.constant("scale", 0.5),
            models.constant("zero", 0, np.int8),
        ],
        (2, 4),
        (None, False, False, 1.0),
    ),
    "a recurrent layer": (
        ["LSTM x w r -> y"],
        [models.weight("w", 1, 24, 4), models.weight("r", 1, 24, 6)],
        (5, 2, 4),
        None,
    ),
    "no weight": (["Add x w -> y"], [models.weight("w", 4)], (2, 4), None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_stands_behind_a_weight_is_found(tmp_path: Path, case: str) -> None:
    nodes, tensors, shape, expected = CASES[case]
    assert told(around(tmp_path, nodes, tensors, shape)) == expected


def test_a_normalisation_is_given_with_its_parameters(tmp_path: Path) -> None:
    nodes = [models.node("Conv x w -> h"), models.node("BatchNormalization h s b m v -> y")]
    found = around(tmp_path, nodes, [CONV, *NORM], IMAGE)
    assert found is not None
    found_norm = found.normalisation
    assert found_norm is not None
    names = (found_norm.scale, found_norm.bias, found_norm.mean, found_norm.variance)
    assert names == ("s", "b", "m", "v")
    assert np.isclose(found_norm.epsilon, 1e-5)


def test_an_output_of_the_graph_is_read_by_the_caller(tmp_path: Path) -> None:
    nodes = ["Conv x w -> y", "BatchNormalization y s b m v -> z"]
    found = around(tmp_path, nodes, [CONV, *NORM], IMAGE, "y z")
    assert told(found) == (None, False, True, 1.0)
    found = around(tmp_path, ["MatMul x w -> y", "Add y c -> z"], [GEMM, BIAS], (2, 4), "y z")
    assert told(found) == (None, False, True, 1.0)


def test_old_operators_are_left_alone(tmp_path: Path) -> None:
    nodes = ["MatMul x w -> h", models.node("Add h c -> y", broadcast=1)]
    assert told(around(tmp_path, nodes, [GEMM, BIAS], opset=6)) == (None, False, False, 1.0)
    nodes = ["Conv x w -> h", models.node("BatchNormalization h s b m v -> y")]
    assert told(around(tmp_path, nodes, [CONV, *NORM], IMAGE, opset=6)) == (
        None,
        False,
        True,
        1.0,
    )


def test_weights_in_other_places_have_no_surroundings(tmp_path: Path) -> None:
    inner = [models.weight("w", 4, 4)]
    branch = models.graph([models.node("MatMul x w -> t")], None, "t", inner)
    body = [
        models.node("Constant -> f", value=models.weight("", 4, 4)),
        models.node("MatMul a f -> c"),
    ]
    nodes = [
        models.node("If choice -> h", "if", then_branch=branch, else_branch=branch),
        models.node("F h -> y", domain="local"),
    ]
    tensors = [models.constant("choice", True, bool)]
    functions = [models.function("F", "a -> c", body)]
    proto = models.model(nodes, {"x": [2, 4]}, "y", tensors, functions)
    with load_onnx(models.save(tmp_path / "m.onnx", proto)) as model:
        assert len(model.weights) == 3
        assert all(surroundings(model, weight.path) is None for weight in model.weights)


def test_readers_in_subgraphs_count(tmp_path: Path) -> None:
    branch = models.graph([models.node("Identity h -> t")], None, "t")
    nodes = [
        models.node("MatMul x w -> h"),
        models.node("Add h c -> i"),
        models.node("If choice -> j", then_branch=branch, else_branch=branch),
        models.node("Add i j -> y"),
    ]
    tensors = [GEMM, BIAS, models.constant("choice", True, bool)]
    assert told(around(tmp_path, nodes, tensors)) == (None, False, True, 1.0)
