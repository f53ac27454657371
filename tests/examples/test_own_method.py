"""The example of a method of one's own: one short file that runs on the digits."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from onnxprune.registry import find
from tests.conftest import ROOT, Ran
from tests.reference_weights import onnx_values

Run = Callable[..., Ran]
FILE = ROOT / "examples" / "own_method.py"


def test_the_example_prunes_the_digits(run: Run, digits: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    ran = run(digits, "-s", "0.9", "-m", FILE, "-o", output, "--json", "--no-verify")
    assert (ran.code, ran.err) == (0, "")
    report = json.loads(ran.out)
    dense, sparse = onnx_values(digits), onnx_values(output)
    scores = {tensor["name"]: relative(dense[tensor["name"]]) for tensor in report["tensors"]}
    every = np.concatenate([found.reshape(-1) for found in scores.values()])
    cut = np.sort(every)[64_410]
    assert sum(tensor["zeros"] for tensor in report["tensors"]) == 64_411
    for name, found in scores.items():
        np.testing.assert_array_equal(sparse[name] == 0, found <= cut, name)


def relative(weight: np.ndarray) -> np.ndarray:
    """Divide magnitudes by the mean of their output, which comes first in these layers."""
    size = np.abs(weight.astype("f4"))
    rows = size.reshape(size.shape[0], -1)
    if size.ndim == 4:
        rows = size.transpose(0, 2, 3, 1).reshape(size.shape[0], -1)
    mean = rows.mean(axis=1).reshape(-1, *[1] * (size.ndim - 1))
    return size / (mean + np.float32(1e-12))


def test_the_example_is_short_and_documented() -> None:
    text = FILE.read_text()
    assert len(text.splitlines()) <= 20
    entry = find(str(FILE))
    assert entry.name == FILE.stem
    assert entry.summary.endswith(".")
    assert f"`{FILE.name}`" in (ROOT / "examples" / "README.md").read_text()
