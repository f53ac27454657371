"""Models with external data, and what became of their files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.formats.files_made import FLOAT, Array, graph_of, model_of, outside, read

SHAPE = (8, 9)


def write(folder: Path, tensors: Sequence[bytes], names: Sequence[str]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(model_of(tensors, graph_of(FLOAT, SHAPE, names)))
    return path


def one_file(folder: Path, values: Array, **entries: Any) -> Path:
    """Write a model whose weight lies behind 64 bytes of something else."""
    folder.mkdir(exist_ok=True)
    (folder / "w.bin").write_bytes(b"?" * 64 + values.tobytes() + b"!" * 7)
    said = {"location": "w.bin", "offset": 64, "length": values.nbytes, **entries}
    return write(folder, [outside("w", FLOAT, SHAPE, **said)], ["w"])


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def runs_alike(path: Path, weights: dict[str, Array]) -> bool:
    """Whether onnx and ONNX Runtime find these weights in a model."""
    x = np.arange(2 * SHAPE[0], dtype=np.float32).reshape(2, SHAPE[0])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    made = session.run([f"{name}_y" for name in weights], {"x": x})
    wanted = [x @ values for values in weights.values()]
    close = [np.allclose(a, b, atol=1e-4) for a, b in zip(made, wanted, strict=True)]
    same = [read(path, name).tobytes() == values.tobytes() for name, values in weights.items()]
    return all(close) and all(same)


def onnx_location(path: Path, name: str) -> str:
    model = onnx.load(path, load_external_data=False)
    (found,) = (each for each in model.graph.initializer if each.name == name)
    return next(entry.value for entry in found.external_data if entry.key == "location")


def sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
