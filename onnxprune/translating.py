"""Measures of a file of torch's what only its ONNX form shows: the flow through operators."""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.errors import UnsupportedError, UsageError
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.formats.scratch import scratch_folder
from onnxprune.formats.torch_file import TorchModel
from onnxprune.least_squares import Gram
from onnxprune.statistics.collecting import Collector
from onnxprune.trials.staging import convert_for
from onnxprune.trials.trial import Trial
from onnxprune.types import Array, Layout

Places = dict[str, tuple[str, Array]]
"""For a weight, its tensor in another form of the model, and where each value of that is from."""


class Translated:
    """A collector of a converted model, asked and answering in the terms of its source.

    Args:
        collector: measures the ONNX model.
        places: for each weight of the source, its tensor there, and where each value of that
            comes from.
        layouts: of the source's weights; `converted`: of those of the ONNX model.
    """

    def __init__(
        self,
        collector: Collector,
        places: Places,
        layouts: Mapping[str, Layout],
        converted: Mapping[str, Layout],
    ) -> None:
        self.loss = collector.loss
        self.notes = collector.notes
        self._collector = collector
        self._places = places
        self._layouts = layouts
        self._converted = converted

    def collect(
        self, names: Collection[str], masks: Mapping[str, Array] | None, step: int
    ) -> dict[str, Mapping[str, Any]]:
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
                path: self._back(path, tensors[other])
                for path, (other, _) in self._places.items()
                if other in tensors
            }
            for name, tensors in found.items()
        }

    def _back(self, path: str, values: Any) -> Any:
        other, order = self._places[path]
        if isinstance(values, Gram):
            return _gram_back(values, order, self._layouts[path], self._converted[other])
        result = np.empty(values.size, values.dtype)
        result[order] = values.reshape(-1)
        return result


def _gram_back(gram: Gram, order: Array, layout: Layout, converted: Layout) -> Gram:
    """Return what is known of a matrix's inputs in the order of the same matrix elsewhere."""
    positions = np.arange(order.size)
    at = np.empty(order.size, np.int64)
    at[layout.matrix(positions)] = positions.reshape(layout.matrix(positions).shape)
    there = at[order[converted.matrix(positions)]]
    width = there.shape[1]
    rows, columns = there[:, 0] // width, there[0] % width
    back = np.argsort(columns)
    area = np.ix_(back, back)
    return Gram(
        tuple(
            replace(
                part,
                rows=rows[part.rows],
                gram=part.gram[area],
                cross=part.cross[area],
                total=part.total[back],
                dense_total=part.dense_total[back],
            )
            for part in gram.parts
        )
    )


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
            f"what is measured of {model.kind} here is measured of its ONNX form, which is made"
            " with an example of what it takes",
            "--data SET gives it, or --data random --shape INPUT=3x224x224",
        )
    folder = stack.enter_context(scratch_folder())
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
