"""The choices of how to estimate."""

from typing import Any

import pytest
import torch

from onnxprune.errors import UnsupportedError, UsageError
from onnxprune.statistics.estimation import Estimation, find_device


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            {"loss": "hinge"},
            "--loss is cross-entropy, mse or module:function, not 'hinge'",
        ),
        ({"bn": "train"}, "--bn is eval or batch, not 'train'"),
        ({"curvature": "full"}, "--curvature is exact, mc or empirical, not 'full'"),
        ({"precision": "half"}, "--precision is float32 or float64, not 'half'"),
        ({"device": "tpu"}, "--device is cpu, cuda or auto, not 'tpu'"),
        ({"batches_per_step": 0}, "--batches-per-step is at least 1, not 0"),
        ({"batch": 0}, "--batch is at least 1, not 0"),
        ({"seed": -1}, "--seed is at least 0, not -1"),
    ],
)
def test_a_wrong_choice_is_named(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Estimation(**choice)
    assert caught.value.message == message


@pytest.mark.parametrize("loss", ["mse", "my.losses:huber", "folder/my losses.py:huber"])
def test_losses_are_names_or_functions(loss: str) -> None:
    assert Estimation(loss=loss).loss == loss


def test_precisions_are_torch_types() -> None:
    assert Estimation().dtype == torch.float32
    assert Estimation(precision="float64").dtype == torch.float64


def test_without_a_gpu_there_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(UnsupportedError) as caught:
        find_device("cuda")
    assert caught.value.message == "--device cuda: torch finds no GPU"


def test_processes_share_out_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert find_device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert find_device("cuda") == torch.device("cuda", 0)
    assert find_device("cpu") == torch.device("cpu")
