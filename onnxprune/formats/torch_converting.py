"""Turns a file of torch's into an ONNX file, in a child process."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.errors import UnsupportedError
from onnxprune.formats.scratch import scratch_folder
from onnxprune.formats.torch_file import TorchModel
from onnxprune.formats.torch_surveying import ask
from onnxprune.formats.torch_tensors import dense_order
from onnxprune.types import Array


@dataclass(frozen=True, slots=True)
class Converted:
    """An ONNX file that was made of a file of torch's.

    Args:
        path: where it is.
        route: which way led there.
        names: for each weight, what it is called in the ONNX file.
        missing: the weights whose values are not in it as they are.
        error: the largest difference of an output over its largest value.
    """

    path: Path
    route: str
    names: dict[str, str]
    missing: tuple[str, ...]
    error: float


def convert(model: TorchModel, arguments: Sequence[Array], output: Path) -> Converted:
    """Write a model as ONNX.

    Args:
        model: the open file.
        arguments: an example of what it takes, in order.
        output: the file to write.
    """
    with scratch_folder() as folder:
        request = Path(folder, "request.npz")
        weights = {f"w{n}": as_used(model, w.path) for n, w in enumerate(model.weights)}
        given = {f"a{n}": np.asarray(each) for n, each in enumerate(arguments)}
        arrays: dict[str, Any] = weights | given
        np.savez(request, **arrays)
        names = [*model.survey.inputs[: len(arguments)]]
        paths = [weight.path for weight in model.weights]
        more = (str(request), str(output), *names, "--", *paths)
        answer = ask("export", model.source.path, model.is_program, *more)
    if "unsupported" in answer:
        raise UnsupportedError(
            answer["unsupported"], "-o with the suffix of the model keeps its form"
        )
    return Converted(
        output,
        answer["route"],
        dict(answer["names"]),
        tuple(answer["missing"]),
        float(answer["error"]),
    )


def as_used(model: TorchModel, path: str) -> Array:
    """Return a weight in the shape that its module has it in."""
    region, view = model.regions[path], model.views[path]
    flat = model.stored(path).stored(0, region.size)
    if region.kind == "BFLOAT16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    order = dense_order(view.shape, view.stride)
    assert order is not None
    back = sorted(range(len(order)), key=order.__getitem__)
    shown = flat.reshape([view.shape[each] for each in order]).transpose(back)
    return np.ascontiguousarray(shown).reshape(view.shape)
