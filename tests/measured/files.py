"""A model file, and a file of samples for it, as a user has them."""

from pathlib import Path
from typing import Any

import numpy as np

import onnxprune
from onnxprune.trials.trial import Trial
from tests.models import constant, model, node, save, weight

LABELS = np.arange(12) % 3


def write_net(folder: Path) -> Path:
    """Two layers of 4 by 6 and 6 by 3, and a matrix that the first output does not depend on."""
    nodes = [
        node("MatMul x first -> a"),
        node("Tanh a -> b"),
        node("Gemm b second bias -> y"),
        node("MatMul x aside -> z"),
    ]
    tensors = [weight("first", 4, 6), weight("second", 6, 3), weight("aside", 4, 5)]
    tensors.append(constant("bias", [0.1, 0.2, 0.3]))
    return save(folder / "net.onnx", model(nodes, {"x": ("n", 4)}, "y z", tensors))


def write_samples(folder: Path) -> Path:
    """Twelve samples of three classes."""
    x = np.random.default_rng(8).standard_normal((12, 4)).astype(np.float32)
    np.savez(folder / "set.npz", x=x, labels=LABELS)
    return folder / "set.npz"


def trial(samples: Path, **more: Any) -> Trial:
    """Run on the processor, five samples at a time."""
    return onnxprune.trial(samples, **{"batch": 5, "device": "cpu"} | more)
