"""The axis that N:M groups run along, operator by operator, read off the written model itself.

The axes are those of the operators' definitions, not of our layouts: Conv has its input channels
at axis 1, a factor on the right of a product at its last axis but one, and so on.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime import InferenceSession

import onnxprune
from tests.models import constant, model, node, save, weight
from tests.tensors_made import Array

PICTURE: dict[str, list[int | str]] = {"x": [1, 8, 5, 5]}
ROWS: dict[str, list[int | str]] = {"x": [3, 8]}
CASES: dict[str, tuple[list[Any], Any, list[Any], Any, int]] = {
    # name: nodes, inputs, shape of w, more initializers, axis of the input channels in w
    "Conv": ([node("Conv x w -> y")], PICTURE, [6, 8, 3, 3], [], 1),
    "Conv in one dimension": ([node("Conv x w -> y")], {"x": [1, 8, 9]}, [6, 8, 3], [], 1),
    "Conv in groups": ([node("Conv x w -> y", group=2)], PICTURE, [6, 4, 3, 3], [], 1),
    "ConvTranspose": ([node("ConvTranspose x w -> y")], PICTURE, [8, 6, 3, 3], [], 0),
    "ConvTranspose in groups": (
        [node("ConvTranspose x w -> y", group=2)],
        PICTURE,
        [8, 3, 3, 3],
        [],
        0,
    ),
    "Gemm": ([node("Gemm x w -> y")], ROWS, [8, 6], [], 0),
    "Gemm, transposed": ([node("Gemm x w -> y", transB=1)], ROWS, [6, 8], [], 1),
    "Gemm on the left": ([node("Gemm w x -> y")], {"x": [8, 3]}, [6, 8], [], 1),
    "MatMul": ([node("MatMul x w -> y")], ROWS, [8, 6], [], 0),
    "MatMul on the left": ([node("MatMul w x -> y")], {"x": [8, 3]}, [6, 8], [], 1),
    "MatMul in batches": ([node("MatMul x w -> y")], {"x": [5, 3, 8]}, [5, 8, 6], [], 1),
    "MatMul on the left in batches": (
        [node("MatMul w x -> y")],
        {"x": [5, 8, 3]},
        [5, 6, 8],
        [],
        2,
    ),
    "Transpose": (
        [node("Transpose w -> t", perm=[1, 0]), node("MatMul x t -> y")],
        ROWS,
        [6, 8],
        [],
        1,
    ),
    "Transpose to Conv": (
        [node("Transpose w -> t", perm=[3, 2, 0, 1]), node("Conv x t -> y")],
        PICTURE,
        [3, 3, 8, 6],
        [],
        2,
    ),
    "Cast": ([node("Cast w -> t", to=1), node("Gemm x t -> y")], ROWS, [8, 6], [], 0),
    "QDQ": (
        [node("DequantizeLinear w s z -> t", axis=0), node("Conv x t -> y")],
        PICTURE,
        [6, 8, 3, 3],
        [constant("s", np.full(6, 0.5)), constant("z", np.zeros(6), np.int8)],
        1,
    ),
}


def groups_of(values: Array, axis: int) -> Array:
    """Cut an axis into fours; one row for each four."""
    return np.moveaxis(values, axis, -1).reshape(-1, 4)


@pytest.mark.parametrize("name", CASES)
def test_groups_run_along_the_input_channels(name: str, tmp_path: Path) -> None:
    nodes, inputs, shape, more, axis = CASES[name]
    kind = np.int8 if name == "QDQ" else np.float16 if name == "Cast" else np.float32
    before = weight("w", *shape, dtype=kind)
    path = save(tmp_path / "m.onnx", model(nodes, inputs, "y", [before, *more]))
    report = onnxprune.prune(path, pattern="2:4", output=tmp_path / "o.onnx")
    assert (report.mask_zeros, report.size) == (np.prod(shape) // 2, np.prod(shape))
    made = onnx.load(tmp_path / "o.onnx")
    values = numpy_helper.to_array(next(t for t in made.graph.initializer if t.name == "w"))
    dense = numpy_helper.to_array(before)
    fours = groups_of(values, axis)
    assert ((fours == 0).sum(1) >= 2).all()
    size = np.abs(groups_of(dense, axis).astype(np.float64))
    for was, now in zip(size, fours, strict=True):
        # The two largest of each four stay, the later ones of equals.
        order = sorted(range(4), key=lambda at, was=was: (was[at], at))
        assert not now[order[:2]].any()
    kept = values != 0
    np.testing.assert_array_equal(values[kept], dense[kept])
    InferenceSession(str(tmp_path / "o.onnx"), providers=["CPUExecutionProvider"])


def test_a_depthwise_convolution_and_odd_inputs_are_left_alone(tmp_path: Path) -> None:
    nodes = [node("Conv x w -> h", group=8), node("Conv h v -> g"), node("Conv g u -> y")]
    tensors = [weight("w", 8, 1, 3, 3), weight("v", 6, 8, 1, 1), weight("u", 4, 6, 1, 1)]
    path = save(tmp_path / "m.onnx", model(nodes, PICTURE, "y", tensors))
    report = onnxprune.prune(path, pattern="2:4", dry_run=True)
    assert [each.weight.path for each in report.tensors] == ["v"]
    assert {each.name: each.reason for each in report.skipped} == {
        "w": "one input channel for each output (--pattern 2:4)",
        "u": "input channels are no multiple of 4 (--pattern 2:4)",
    }


def test_polygraphy_prunes_the_same_by_magnitude(digits: Path, tmp_path: Path) -> None:
    command = shutil.which("polygraphy")
    if command is None:
        pytest.skip("polygraphy is not installed")
    ours, theirs = tmp_path / "ours.onnx", tmp_path / "theirs.onnx"
    report = onnxprune.prune(digits, pattern="2:4", output=ours)
    run: dict[str, Any] = {
        "capture_output": True,
        "text": True,
        "check": True,
        "env": {"PATH": ""},
    }
    subprocess.run([command, "surgeon", "prune", str(digits), "-o", str(theirs)], **run)
    values = {t.name: t for t in onnx.load(theirs).graph.initializer}
    for tensor in onnx.load(ours).graph.initializer:
        first, second = map(numpy_helper.to_array, (tensor, values[tensor.name]))
        assert first.tobytes() == second.tobytes(), tensor.name
    said = subprocess.run([command, "inspect", "sparsity", str(ours)], **run).stdout
    for each in report.tensors:
        assert f"Found sparse tensor: {each.weight.path}" in said
