"""Methods that measure the model in torch on the GPU decide what they decide on the processor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onnxprune
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.reimport.module import reimport
from tests.benchmarks import node_suite
from tests.gpu.probe import DEVICE, DIGITS, SAMPLES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here"),
]
METHODS = ("snip", "iterative_snip", "force", "grasp", "obd", "quadratic", "synflow")
OTHERWISE = {"float64": 0.0005, "float32": 0.05}
"""The share of a mask that near ties may decide otherwise, steps included."""


def masks(method: str, device: str, precision: str, folder: Path) -> np.ndarray[Any, Any]:
    output = folder / f"{device}.onnx"
    report = onnxprune.prune(
        DIGITS,
        0.9,
        method,
        steps=None if method in ("snip", "grasp") else 4,
        precision=precision,
        data=onnxprune.trial(SAMPLES, device=device),
        output=output,
        force=True,
        verify=False,
    )
    assert report.calibration is not None
    assert report.calibration.device.startswith(device)
    return np.concatenate([mask.ravel() for mask in onnxprune.masks.load(output).values()])


@pytest.mark.parametrize("precision", OTHERWISE)
@pytest.mark.parametrize("method", METHODS)
def test_masks_are_those_of_the_processor_but_for_near_ties(
    method: str, precision: str, tmp_path: Path
) -> None:
    here, there = (masks(method, each, precision, tmp_path) for each in (DEVICE, "cpu"))
    assert np.count_nonzero(here != there) <= OTHERWISE[precision] * here.size
    assert np.count_nonzero(here) == np.count_nonzero(there)


@pytest.mark.parametrize("method", ["force", "quadratic"])
def test_the_same_run_gives_the_same_mask(method: str, tmp_path: Path) -> None:
    found = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(masks(method, DEVICE, "float32", folder))
    assert np.array_equal(*found)


def test_outputs_and_gradients_are_those_of_the_processor() -> None:
    with np.load(SAMPLES) as samples:
        feeds = {"image": samples["image"][:32]}
    found = []
    for device in (DEVICE, "cpu"):
        with load_onnx(DIGITS) as model:
            module = reimport(model, device=device, precision=torch.float64)
        total = torch.tanh(module.compute(feeds)["logits"]).sum()
        tensors = list(module.tensors.values())
        found.append([each.cpu() for each in torch.autograd.grad(total, tensors)])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_onnx_node_tests_are_never_wrong_on_the_gpu() -> None:
    results = node_suite.suite(device=DEVICE)
    wrong = [(each.name, each.reason) for each in results if each.kind == node_suite.WRONG]
    assert wrong == []
