"""Tensors of more values than the package works on at a time."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from onnxprune.pruning import Settings, prune_file
from onnxprune.recipe import make_recipe
from tests.formats.files_made import (
    BFLOAT16,
    DOUBLE,
    FLOAT,
    FLOAT16,
    UINT8,
    one_weight,
    prune,
    read,
    real,
    scaling,
    some,
    tensor,
    zeroed,
)

MANY = (300, 901)
"""270,300 values; the package works on 262,144 at a time."""


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        (FLOAT, "raw"),
        (FLOAT, "split"),
        (FLOAT, "unpacked"),
        (DOUBLE, "wide tags"),
        (BFLOAT16, "raw"),
        (FLOAT16, "packed"),
    ],
)
def test_tensors_of_many_chunks_are_patched_alike(
    tmp_path: Path, kind: int, encoding: str
) -> None:
    values = some(kind, MANY)
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(one_weight(kind, tensor("w", kind, values, encoding), MANY))
    report = prune(path, output, 0.6)
    expected = zeroed(values, np.abs(real(kind, values)), 0.6)
    weight = tensor("w", kind, expected, encoding, values)
    assert output.read_bytes() == one_weight(kind, weight, MANY)
    assert report.zeros == np.count_nonzero(real(kind, expected) == 0)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_scores_that_go_by_place_keep_to_it(tmp_path: Path) -> None:
    values, made = some(FLOAT, MANY), []
    recipe = make_recipe({"sparsity": 0.6, "method": "random"})
    for encoding in ("raw", "split", "unpacked"):
        path, output = tmp_path / "in.onnx", tmp_path / f"{encoding}.onnx"
        path.write_bytes(one_weight(FLOAT, tensor("w", FLOAT, values, encoding), MANY))
        prune_file(path, recipe, Settings(output=output, verify=False))
        made.append(read(output).tobytes())
        zeros = np.count_nonzero(read(output) == 0)
        assert 0 <= zeros - round(0.6 * values.size) <= 2  # two were there before
    assert len(set(made)) == 1


def test_channels_of_many_chunks_are_patched_alike(tmp_path: Path) -> None:
    values = some(UINT8, MANY)
    zero, scale = np.arange(901) % 256, 1 + np.arange(901) / 64
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    others = scaling(UINT8, zero, scale)
    path.write_bytes(one_weight(UINT8, tensor("w", UINT8, values), MANY, *others))
    prune(path, output, 0.6)
    magnitude = np.abs(values.astype(np.float64) - zero) * scale
    weight = tensor("w", UINT8, zeroed(values, magnitude, 0.6, zero))
    assert output.read_bytes() == one_weight(UINT8, weight, MANY, *others)
