"""Measures of a file of torch's what only its ONNX form shows: the flow through operators."""

import contextlib
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from onnxprune.errors import UnsupportedError, UsageError
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.formats.torch_file import TorchModel
from onnxprune.statistics.collecting import Collector
from onnxprune.trials.staging import convert_for
from onnxprune.trials.trial import Trial
from onnxprune.types import Array

Places = dict[str, tuple[str, Array]]
"""For a weight, its tensor in another form of the model, and where each value of that is from."""


class Translated:
    """A collector of a converted model, asked and answering in the terms of its source.

    Args:
        collector: measures the ONNX model.
        places: for each weight of the source, its tensor there, and where each value of that
            comes from.
    """

    def __init__(self, collector: Collector, places: Places) -> None:
        self.loss = collector.loss
        self.notes = collector.notes
        self._collector = collector
        self._places = places

    def collect(
        self, names: Collection[str], masks: Mapping[str, Array] | None, step: int
    ) -> dict[str, dict[str, Array]]:
        """Return statistics by name and tensor, in the source's stored order."""
        given = None
        if masks is not None:
            given = {
                self._places[path][0]: mask[self._places[path][1]]
                for path, mask in masks.items()
            }
        found = self._collector.collect(names, given, step)
        self.loss, self.notes = self._collector.loss, self._collector.notes
        return {
            name: {
                path: self._back(tensors[other], order)
                for path, (other, order) in self._places.items()
                if other in tensors
            }
            for name, tensors in found.items()
        }

    def _back(self, values: Array, order: Array) -> Array:
        result = np.empty(values.size, values.dtype)
        result[order] = values.reshape(-1)
        return result


def as_onnx(
    model: TorchModel, example: Trial | None, stack: contextlib.ExitStack
) -> tuple[OnnxModel, Places]:
    """Turn a model into ONNX, and find its weights there.

    Args:
        model: the open file.
        example: samples, the first of which show what it takes.
        stack: closes what is opened.
    """
    if example is None:
        raise UsageError(
            f"the flow through {model.kind} is that through its ONNX form, which is made with"
            " an example of what it takes",
            "--data SET gives it, or --data random --shape INPUT=3x224x224",
        )
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="onnxprune-"))
    made = convert_for(model, example, Path(folder, "model.onnx"))
    converted = load_onnx(made.path)
    stack.callback(converted.close)
    known = {weight.path: weight for weight in converted.weights}
    places: Places = {}
    for weight in model.weights:
        name = made.names.get(weight.path, "")
        order = None
        if name in known and name not in (taken for taken, _ in places.values()):
            order = _order(
                model.values(weight.path, 0, weight.size),
                converted.values(name, 0, known[name].size),
                weight.shape,
            )
        if order is None:
            raise UnsupportedError(
                f"'{weight.path}' is another tensor in the ONNX form of the model",
                f"--exclude '{weight.path}' leaves it alone, other methods do not need that form",
            )
        places[weight.path] = name, order
    return converted, places


def _order(source: Array, made: Array, shape: tuple[int, ...]) -> Array | None:
    """Return where each value of a converted tensor is in its source, if it is told by values."""
    plain = np.arange(source.size)
    ways = [plain]
    if len(shape) == 2:
        ways.append(plain.reshape(shape).T.reshape(-1))
    for order in ways:
        if source.size == made.size and np.array_equal(source[order], made):
            return order
    return None
