"""Imports a model for what is measured of it, and compares it before that is believed."""

from collections.abc import Sequence

from onnxprune.errors import OnnxpruneError, about
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.reimport.module import Reimported, reimport
from onnxprune.reimport.parity import Parity, compare
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.statistics.estimation import Estimation, find_device
from onnxprune.statistics.native import Native
from onnxprune.statistics.targets import Target, find_target
from onnxprune.trials.ports import input_ports


def look_for(model: Model, estimation: Estimation) -> Target:
    """Return what the loss should look at; what torch runs itself shows no more than outputs."""
    if not isinstance(model, OnnxModel):
        return Target(estimation.output, estimation.output)
    return find_target(model, estimation.output, raw=estimation.loss != "cross-entropy")


def import_model(
    model: Model, estimation: Estimation, paths: list[str], target: Target
) -> Reimported | Native:
    """Make a module of a model, with the value that the loss looks at among its outputs."""
    if not isinstance(model, OnnxModel):
        with about(model.source.path):
            return Native(model, estimation.dtype, find_device(estimation.device))
    return import_graph(model, estimation, paths, [target.value] if target.value else [])


def import_graph(
    model: OnnxModel, estimation: Estimation, paths: list[str], inner: Sequence[str]
) -> Reimported:
    """Make a module of an ONNX model that returns some inner values beside its outputs."""
    outputs = [value.name for value in model.graph.model.graph.output]
    outputs += [name for name in inner if name not in outputs]
    with about(model.source.path):
        return reimport(
            model,
            precision=estimation.dtype,
            device=find_device(estimation.device),
            prunable=paths,
            outputs=outputs,
        )


def compare_import(
    module: Reimported | Native,
    model: Model,
    samples: Samples | None,
    size: int,
    timeout: float,
) -> Parity | None:
    """Refuse an import that does not compute what ONNX Runtime does.

    Args:
        module: made of the model.
        model: the open file.
        samples: the set, whose first batch both compute; random numbers if not given.
        size: of the batch.
        timeout: seconds that ONNX Runtime may take.
    """
    if not isinstance(model, OnnxModel):
        return None  # there is no import: torch runs the file
    assert isinstance(module, Reimported)
    if samples is None:
        try:
            samples = open_samples("random:1", Reading(), input_ports(model))
        except OnnxpruneError:
            return None  # of what shape inputs are is not known
    batch = next(iter(samples.batches(size)))
    with about(model.source.path):
        return compare(module, model, batch.feeds, timeout)
