"""Small nets need no threads, and the tests beside these need the cores."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPRUNE_THREADS", "1")
    torch.set_num_threads(1)
