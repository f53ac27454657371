"""The test data that ONNX models come with: folders of inputs and expected outputs."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from onnxprune.errors import InputError, LimitError, UnsupportedError
from onnxprune.outcomes import Port
from onnxprune.samples.files import files_in, folders_in, hash_files, reading
from onnxprune.samples.table import REFERENCE, Rows, Spec, Table
from onnxprune.types import Array

SIZE_LIMIT = (1 << 31) - 1
"""The largest message that protobuf takes."""

TEXT_LIMIT = 1 << 28
"""The bytes that the texts of one tensor may take; numpy gives all of them the same room."""


def feed_folders(folder: Path) -> list[Path]:
    """List the folders of one feed each that a folder is or holds."""
    if _files(folder, "input"):
        return [folder]
    return [each for each in folders_in(folder) if each.name.startswith("test_data_set_")]


class Feeds(Table):
    """Whole feeds, each in a folder of its own; their shapes may differ."""

    whole = True

    def __init__(self, source: Path, folders: Sequence[Path], ports: Sequence[Port]) -> None:
        self.source = str(source)
        self.constants = {}
        self._folders = folders
        self._ports = [port.name for port in ports]
        kinds = [
            {name: Spec.of(array) for name, array in self._read(folder).items()}
            for folder in folders
        ]
        for folder, found in zip(folders, kinds, strict=True):
            for name in sorted({*kinds[0], *found}):
                if _type(kinds[0].get(name)) != _type(found.get(name)):
                    raise InputError(
                        f"{folder.name} has another '{name}' than {folders[0].name}"
                    )
        self.columns = {
            name: Spec(spec.dtype, (len(folders), *spec.shape))
            for name, spec in kinds[0].items()
        }

    def pieces(self, size: int) -> Iterator[Rows]:
        """Go through all rows in order, one at a time whatever the size."""
        for folder in self._folders:
            rows = self._read(folder)
            yield {name: rows[name][None] for name in self.columns}

    def digest(self) -> str:
        """Return a SHA-256 sum of all that the rows come from."""
        files = [
            (f"{place} {file.name}", file)
            for place, folder in enumerate(self._folders)
            for kind in ("input", "output")
            for file in _files(folder, kind)
        ]
        return hash_files(files)

    def _read(self, folder: Path) -> Rows:
        """Read the tensors of a feed by name."""
        rows: Rows = {}
        for path in _files(folder, "input"):
            shown = f"{folder.name}/{path.name}"
            name, array = _tensor(path, shown)
            place = _number(path)
            if name not in self._ports:
                if place >= len(self._ports):
                    raise InputError(f"{shown} is for no input of the model")
                name = self._ports[place]
            if name in rows:
                raise InputError(f"{shown} is a second array for the model's input '{name}'")
            rows[name] = array
        for path in _files(folder, "output"):
            name, array = _tensor(path, f"{folder.name}/{path.name}")
            rows[REFERENCE + (name or path.stem)] = array
        return rows


def _files(folder: Path, kind: str) -> list[Path]:
    pattern = re.compile(rf"{kind}_\d+")
    return [path for path in files_in(folder, {".pb"}) if pattern.fullmatch(path.stem)]


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _type(spec: Spec | None) -> tuple[object, int] | None:
    if spec is None:
        return None
    # Texts of different lengths are of one type.
    kind = "str" if spec.dtype.kind == "U" else spec.dtype
    return kind, len(spec.shape)


def _tensor(path: Path, shown: str) -> tuple[str, Array]:
    """Read a tensor and its name."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    with reading(shown):
        if path.stat().st_size > SIZE_LIMIT:
            raise LimitError(f"{shown} is larger than the 2 GiB that a tensor's file can have")
        data = path.read_bytes()
    tensor = onnx.TensorProto()
    try:
        tensor.ParseFromString(data)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise UnsupportedError(f"{shown} has its data in another file")
        array = onnx.numpy_helper.to_array(tensor)
    except (DecodeError, ValueError, TypeError, KeyError, OverflowError) as error:
        if _is_sequence(data):
            raise UnsupportedError(
                f"{shown} is a sequence or an optional value", "only tensors are taken"
            ) from error
        raise InputError(f"{shown} is no whole tensor") from error
    return tensor.name, _as_text(array, shown) if array.dtype == object else array


def _as_text(array: Array, shown: str) -> Array:
    """Give every text the room of the longest."""
    wanted = 4 * array.size * max((len(each) for each in array.flat), default=0)
    if wanted > TEXT_LIMIT:
        raise LimitError(f"{shown} has texts of very different lengths: {wanted:,} bytes")
    return array.astype(np.str_)


def _is_sequence(data: bytes) -> bool:
    """Tell a sequence, or an optional value, from a broken tensor."""
    import onnx
    from google.protobuf.message import DecodeError

    sequence = onnx.SequenceProto()
    try:
        sequence.ParseFromString(data)
    except DecodeError:
        return False
    return any(tensor.data_type for tensor in sequence.tensor_values)
