"""What the precision that a model is measured in changes: masks in single and in double."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import onnxprune
from onnxprune.masks import load
from onnxprune.registry import Entry, entries
from onnxprune.types import Array
from tests import shared
from tests.benchmarks import peers
from tests.benchmarks.figures import Figures
from tests.benchmarks.suites import Say

SPARSITY, STEPS, SAMPLES = 0.9, 5, 256
PIXELS = {
    "inputs": {"images_u8": "input"},
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
MODELS: dict[str, tuple[Path, Path, dict[str, Any]]] = {
    "digits": (
        peers.ROOT / "examples" / "digits" / "digits.onnx",
        peers.ROOT / "calibration" / "digits_test.npz",
        {},
    ),
    "resnet20": (
        shared.MODELS / "resnet20" / "ts_bn.onnx",
        shared.DATA / "cifar10_calibration.npz",
        PIXELS,
    ),
}


def kept(name: str, score: Entry, precision: str, folder: Path) -> Array:
    """Prune a model by a method, measured in one precision, and return its mask as one array."""
    model, data, reading = MODELS[name]
    output = folder / f"{precision}.onnx"
    onnxprune.prune(
        model,
        SPARSITY,
        score.name,
        steps=min(score.steps, STEPS),
        precision=precision,
        batches_per_step=SAMPLES // 64,
        data=onnxprune.trial(str(data), batch=64, device="cpu", **reading),
        output=output,
        verify=False,
        force=True,
    )
    return np.concatenate([mask.ravel() for mask in load(output).values()])


def precision(_: int, say: Say) -> Figures:
    """Compare the masks of all methods that measure."""
    there = [name for name, (*files, _) in MODELS.items() if all(f.exists() for f in files)]
    rows = []
    for score in (each for each in entries("method") if each.measured):
        cells = []
        for name in there:
            say(f"{score.name} on {name}")
            with tempfile.TemporaryDirectory() as folder:
                single, double = (
                    kept(name, score, each, Path(folder)) for each in ("float32", "float64")
                )
            other = int(np.count_nonzero(single != double))
            cells.append(f"{other:,} of {single.size:,}")
        rows.append((score.name, *cells))
    title = (
        f"Entries of the mask that single precision decides otherwise, at {SPARSITY:.0%},"
        f" in up to {STEPS} steps of {SAMPLES} samples"
    )
    missing = [f"{name}: not there" for name in MODELS if name not in there]
    return Figures("precision", title, ("method", *there), tuple(rows), (), tuple(missing))
