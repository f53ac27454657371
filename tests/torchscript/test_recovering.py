"""What masks cost a file of torch's is won back on its ONNX form, and written into the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onnxprune
from onnxprune.errors import UsageError
from tests.torchscript.nets import loaded, made, saved

X = np.random.default_rng(5).standard_normal((200, 3, 6, 6)).astype(np.float32)


def pruned(path: Path, **more: Any) -> onnxprune.Report:
    given = {
        "output": path.with_name(f"out{path.suffix}"),
        "force": True,
        "trust_model": True,
        "data": onnxprune.trial({"x": X}, device="cpu"),
    }
    return onnxprune.prune(path, 0.6, **given | more)


def distance(path: Path, other: torch.nn.Module) -> float:
    """Compare what a written file computes with the net that it was made of."""
    module = loaded(path)
    with torch.no_grad():
        found, wanted = module(torch.from_numpy(X)), other(torch.from_numpy(X))
    return float((found - wanted).square().mean() / wanted.var())


@pytest.mark.parametrize("way", ["trace", "script"])
def test_the_file_that_is_written_computes_what_was_won_back(way: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "small", way)
    net, _ = made("small")
    plain = distance(Path(str(pruned(path).output)), net)
    report = pruned(path, recover="refit,statistics,bias,distill", epochs=3, augment="none")
    assert report.recovery is not None
    assert report.recovery.final.better_than(report.recovery.pruned)
    assert report.zeros == report.mask_zeros == round(0.6 * report.size)
    assert distance(Path(str(report.output)), net) < plain


def test_rewinding_alone_takes_files_of_torch_and_with_training_it_does_not(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path, "small", "trace")
    (tmp_path / "early").mkdir()
    early = saved(tmp_path / "early", "small", "trace")
    report = pruned(path, rewind=early)
    assert Path(str(report.output)).read_bytes() == Path(str(pruned(path).output)).read_bytes()
    with pytest.raises(UsageError, match="--rewind together with --recover is for ONNX files"):
        pruned(path, rewind=early, recover="distill", epochs=1)
