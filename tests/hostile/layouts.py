"""Small models of every form that is written in a way of its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.formats.files_made import (
    BFLOAT16,
    FLOAT,
    UINT8,
    graph_of,
    model_of,
    one_weight,
    outside,
    scaling,
    some,
    tensor,
)

SHAPE = (24, 36)
SIZE = SHAPE[0] * SHAPE[1] * 4
Layout = Callable[[Path], Path]


def inline(folder: Path) -> Path:
    """Write weights in the model file itself, one of them with a tag before every value."""
    encodings = ("raw", "packed", "unpacked")
    names = [f"w{number}" for number in range(len(encodings))]
    tensors = [
        tensor(name, FLOAT, some(FLOAT, SHAPE, number), encoding)
        for number, (name, encoding) in enumerate(zip(names, encodings, strict=True))
    ]
    path = folder / "model.onnx"
    path.write_bytes(model_of(tensors, graph_of(FLOAT, SHAPE, names)))
    return path


def external(folder: Path) -> Path:
    """Write one weight in the model file and two in data files of their own."""
    names = ["a", "b", "c"]
    values = {name: some(FLOAT, SHAPE, number) for number, name in enumerate(names)}
    tensors = [tensor("a", FLOAT, values["a"])]
    for name in names[1:]:
        (folder / f"{name}.bin").write_bytes(b"?" * 64 + values[name].tobytes() + b"!" * 9)
        said = {"location": f"{name}.bin", "offset": 64, "length": SIZE}
        tensors.append(outside(name, FLOAT, SHAPE, **said))
    path = folder / "model.onnx"
    path.write_bytes(model_of(tensors, graph_of(FLOAT, SHAPE, names)))
    return path


def spliced(folder: Path) -> Path:
    """Write a weight whose zeros take more bytes than its values: what follows it moves."""
    weight = tensor("w", UINT8, some(UINT8, SHAPE), "packed")
    others = scaling(UINT8, np.array([200]), np.array([0.25], np.float32))
    path = folder / "model.onnx"
    path.write_bytes(one_weight(UINT8, weight, SHAPE, *others))
    return path


def varints(folder: Path) -> Path:
    """Write a weight as varints that keep their widths."""
    path = folder / "model.onnx"
    weight = tensor("w", BFLOAT16, some(BFLOAT16, SHAPE), "packed")
    path.write_bytes(one_weight(BFLOAT16, weight, SHAPE))
    return path


ONNX: dict[str, Layout] = {
    "inline": inline,
    "external": external,
    "spliced": spliced,
    "varints": varints,
}
