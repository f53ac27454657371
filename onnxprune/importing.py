"""Imports a model for what is measured of it, and compares it before that is believed."""

from onnxprune.errors import OnnxpruneError, about
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.reimport.module import Reimported, reimport
from onnxprune.reimport.parity import Parity, compare
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.statistics.estimation import Estimation, find_device
from onnxprune.statistics.targets import Target
from onnxprune.trials.ports import input_ports


def import_model(
    model: OnnxModel, estimation: Estimation, paths: list[str], target: Target
) -> Reimported:
    """Make a module of a model, with the value that the loss looks at among its outputs."""
    outputs = [value.name for value in model.graph.model.graph.output]
    if target.value is not None and target.value not in outputs:
        outputs.append(target.value)
    with about(model.source.path):
        return reimport(
            model,
            precision=estimation.dtype,
            device=find_device(estimation.device),
            prunable=paths,
            outputs=outputs,
        )


def compare_import(
    module: Reimported, model: OnnxModel, samples: Samples | None, size: int, timeout: float
) -> Parity | None:
    """Refuse an import that does not compute what ONNX Runtime does.

    Args:
        module: made of the model.
        model: the open file.
        samples: the set, whose first batch both compute; random numbers if not given.
        size: of the batch.
        timeout: seconds that ONNX Runtime may take.
    """
    if samples is None:
        try:
            samples = open_samples("random:1", Reading(), input_ports(model))
        except OnnxpruneError:
            return None  # of what shape inputs are is not known
    batch = next(iter(samples.batches(size)))
    with about(model.source.path):
        return compare(module, model, batch.feeds, timeout)
