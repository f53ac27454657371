"""Finds out whether ONNX Runtime can use a GPU here: by using it, once."""

import functools
from pathlib import Path

import numpy as np

from onnxprune.errors import OnnxpruneError
from onnxprune.trials.runner import Runner

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
SAMPLES = ROOT / "calibration" / "digits_test.npz"
DEVICE, PROVIDER = "cuda", "CUDAExecutionProvider"


@functools.cache
def why_not() -> str:
    """Return why no GPU works here, in the words of the error; nothing where one does."""
    try:
        with Runner(DEVICE) as runner:
            runner.open("probe", DIGITS)
            # Only a run shows that the card has kernels for what it is given.
            runner.run("probe", {"image": np.zeros((1, 1, 8, 8), np.float32)})
    except OnnxpruneError as error:
        return f"{error.message}; {error.hint}" if error.hint else error.message
    return ""
