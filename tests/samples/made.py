"""Builds small sets of samples, sound and broken, and goes through what is read of them."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from onnxprune.errors import OnnxpruneError
from onnxprune.outcomes import Port
from onnxprune.samples.batch import Batch, Samples
from onnxprune.samples.opening import Source, open_samples
from onnxprune.samples.reading import Reading

Array = NDArray[Any]
X = Port("x", "float32", (None, 2))


def port(
    name: str = "x", shape: tuple[int | None, ...] | None = (None, 2), dtype: str = "float32"
) -> Port:
    return Port(name, dtype, shape)


def floats(*shape: int) -> Array:
    """Return 0, 1, 2, … in a shape."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def opened(source: Source, *ports: Port, **reading: Any) -> Samples:
    return open_samples(source, Reading(**reading), ports or (X,))


def batches(samples: Samples, size: int = 2) -> list[Batch]:
    return list(samples.batches(size))


def read(samples: Samples, size: int = 2, name: str = "x") -> Array:
    """Return one input's values for all samples."""
    return np.concatenate(
        [batch.feeds[name][: batch.count] for batch in samples.batches(size)]
    )


def refusal(source: Source, *ports: Port, **reading: Any) -> OnnxpruneError:
    """Return the error of opening a set and going through it, which has to be one line."""
    with pytest.raises(OnnxpruneError) as caught:
        batches(opened(source, *ports, **reading))
    assert "\n" not in caught.value.message
    assert not caught.value.message.endswith(".")
    return caught.value


def npz(folder: Path, name: str = "set.npz", compress: bool = False, **arrays: Array) -> Path:
    path = folder / name
    (np.savez_compressed if compress else np.savez)(path, **arrays)
    return path


def npy_bytes(array: Array) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(shape: Any, descr: Any = "<f4", fortran: Any = False, version: int = 1) -> bytes:
    """Spell an array's header, whatever it says."""
    fields = {"descr": descr, "fortran_order": fortran, "shape": shape}
    return headed(repr(fields).encode(), version)


def headed(text: bytes, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + b"\n"


def zipped(path: Path, members: Mapping[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, kind)
    return path


def tensor(path: Path, array: Array, name: str = "") -> Path:
    """Write an array as ONNX test data has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(numpy_helper.from_array(array, name).SerializeToString())
    return path


def sequence(path: Path, array: Array) -> Path:
    value = onnx.SequenceProto(name="s", elem_type=1)
    value.tensor_values.append(numpy_helper.from_array(array))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value.SerializeToString())
    return path


def image(path: Path, pixels: Array, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path
