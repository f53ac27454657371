"""SparseGPT of another tool, where that is installed, for comparison."""

from pathlib import Path

import onnx

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.samples.opening import open_samples
from onnxprune.trials.ports import input_ports
from onnxprune.trials.trial import Trial

SAMPLES = 1024
BATCH = 64


def apply_sparsegpt(source: Path, target: Path, data: Trial, sparsity: float) -> bool:
    """Write a model as onnxsim prunes it, the same share of every layer; False without it."""
    try:
        import onnxsim  # type: ignore[import-not-found]
    except ImportError:
        return False
    with (
        load_onnx(source) as model,
        open_samples(data.data, data.reading, input_ports(model)) as samples,
    ):
        batches = []
        for batch in samples.batches(BATCH):
            batches.append(batch.feeds)
            if batch.start + batch.count >= SAMPLES:
                break
    pruned = onnxsim.apply_sparsegpt_pruning_cpp(onnx.load(source), batches, sparsity=sparsity)
    onnx.save(pruned, target)
    return True
