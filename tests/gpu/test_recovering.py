"""What masks cost is won back on the GPU as it is on the processor."""

from pathlib import Path

import pytest
import torch

import onnxprune
from onnxprune.types import Report
from tests.gpu.probe import DEVICE, DIGITS, SAMPLES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here"),
]


def recovered(recover: str, device: str, folder: Path) -> Report:
    return onnxprune.prune(
        DIGITS,
        0.95,
        recover=recover,
        epochs=3 if "distill" in recover else None,
        data=onnxprune.trial(SAMPLES, device=device),
        output=folder / f"{device}.onnx",
        force=True,
        verify=False,
    )


@pytest.mark.parametrize("recover", ["refit", "sparsegpt", "statistics,bias"])
def test_layers_are_fitted_as_on_the_processor(recover: str, tmp_path: Path) -> None:
    here, there = (recovered(recover, each, tmp_path).recovery for each in (DEVICE, "cpu"))
    assert here is not None
    assert there is not None
    assert here.device.startswith(DEVICE)
    assert here.final.loss == pytest.approx(there.final.loss, rel=0.02, abs=1e-4)


def test_a_training_helps_and_its_zeros_are_exact(tmp_path: Path) -> None:
    report = recovered("distill", DEVICE, tmp_path)
    assert report.recovery is not None
    assert report.recovery.final.better_than(report.recovery.pruned)
    assert report.zeros == report.mask_zeros == round(0.95 * report.size)


def test_a_training_gives_the_same_file_again(tmp_path: Path) -> None:
    files = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        files.append(Path(str(recovered("distill", DEVICE, folder).output)).read_bytes())
    assert files[0] == files[1]
