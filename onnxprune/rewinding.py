"""Gives a model the values of another checkpoint of it."""

from pathlib import Path

import numpy as np

from onnxprune.errors import InputError, about
from onnxprune.formats.loading import Model, load_model
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.types import Array


def rewound_values(model: Model, checkpoint: Path) -> tuple[dict[str, Array], list[str]]:
    """Return what a checkpoint has for the tensors of a model, and what a user should know.

    Every weight has to be there, with the same name and shape; other tensors of floats are taken
    where they are.

    Args:
        model: the open model.
        checkpoint: another file of it, such as from before it was trained.
    """
    found: dict[str, Array] = {}
    missing: list[str] = []
    with about(checkpoint), load_model(checkpoint) as other:
        shapes = tensor_shapes(other)
        for weight in model.weights:
            if weight.path not in shapes:
                raise InputError(
                    f"no tensor '{weight.path}', which {model.source.path.name} has",
                    "--rewind takes a checkpoint of the same model, with the same names",
                )
        for path, shape in tensor_shapes(model).items():
            if path not in shapes:
                missing.append(path)
                continue
            if shapes[path] != shape:
                raise InputError(
                    f"'{path}' has shape {list(shapes[path])}; in {model.source.path.name} it"
                    f" has {list(shape)}",
                    "--rewind takes a checkpoint of the same model",
                )
            size = int(np.prod(shape))
            values = other.stored(path).values(0, size)
            if not np.array_equal(values, model.stored(path).values(0, size)):
                found[path] = values
    notes = [f"'{path}' is not in {checkpoint}: it keeps its values" for path in missing]
    return found, notes


def tensor_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a model that can be given other values."""
    if isinstance(model, OnnxModel):
        found = {
            constant.path: tuple(constant.record.dims) for constant in model.graph.constants
        }
    else:
        found = {path: tuple(region.shape) for path, region in model.regions.items()}
    return {path: shape for path, shape in found.items() if model.editable(path) is None}
