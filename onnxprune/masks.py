"""Masks as files: which weights a model keeps, to carry over to another or to compare."""

import io
import json
import math
import operator
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.errors import (
    InputError,
    LimitError,
    OnnxpruneError,
    UnsafeError,
    UsageError,
    about,
)
from onnxprune.formats.files import SourceFile, open_regular
from onnxprune.formats.loading import Model, load_model
from onnxprune.formats.onnx_file import file_hash
from onnxprune.formats.output import Temporary, check_output, write_errors
from onnxprune.formats.torch_archive import MAGIC
from onnxprune.formats.wire import read_exactly
from onnxprune.selection import CHUNK
from onnxprune.types import Array

SCHEMA = 1
INDEX = "index"
TOTAL_LIMIT = 1 << 34
INDEX_LIMIT = 1 << 28
RANKS, SIZE_LIMIT = 64, 1 << 40
HEADER = 1 << 12
"""The most bytes that numpy's header of a flat array takes."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
UNREADABLE = 0x61
"""The bits of a member's flags that say it is encrypted or a patch."""

FLAT = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '\|u1', 'fortran_order': False,"
    rb" 'shape': \((\d{1,15}),\), \} *\n",
    re.DOTALL,
)
"""How numpy begins a flat array of bytes; numpy's own reader takes a header for Python."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What a mask file holds: tensors, weights, and how many of them are pruned."""

    output: str
    source: str
    tensors: int
    size: int
    zeros: int


class MaskFile:
    """The masks in a file, or those that a pruned model's zeros make; read one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        self._model: Model | None = None
        self._members: dict[str, str] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.source = ""
        self.files: list[SourceFile] = []
        try:
            with about(path):
                self._open()
        except OnnxpruneError:
            self.close()
            raise

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __enter__(self) -> "MaskFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened."""
        if self._model is not None:
            self._model.close()
        else:
            for file in self.files:
                file.close()
        self._model, self.files = None, []

    def mask(self, path: str) -> Array:
        """Return one tensor's mask: True where the weight is kept."""
        shape = self.shapes[path]
        if self._model is not None:
            return _nonzero(self._model, path).reshape(shape)
        size = math.prod(shape)
        with about(self.path):
            packed = self._member(self._members[path], -(-size // 8))
            if packed.dtype != np.uint8 or packed.shape != (-(-size // 8),):
                raise InputError(f"the mask of '{path}' does not have {size:,} bits")
        return np.unpackbits(packed, count=size).view(bool).reshape(shape)

    def _open(self) -> None:
        file = open_regular(self.path)
        self.files = [file]
        if read_exactly(file.descriptor, 0, min(4, file.size)) == MAGIC and not _of_torch(
            file
        ):
            self._open_archive(file)
            return
        file.close()
        self.files = []
        self._model = load_model(self.path)
        self.files = self._model.all_files()
        self.shapes = {weight.path: weight.shape for weight in self._model.weights}
        self.source = file_hash(self.files[0])

    def _open_archive(self, file: SourceFile) -> None:
        try:
            self._archive = zipfile.ZipFile(io.FileIO(file.descriptor, closefd=False))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise InputError("not a whole zip file") from error
        names = self._archive.namelist()
        if len(names) != len(set(names)):
            raise InputError("two members of one name")
        for info in self._archive.infolist():
            if "/" in info.filename or "\\" in info.filename:
                raise UnsafeError("a member has a path for a name")
            if info.flag_bits & UNREADABLE or info.compress_type not in METHODS:
                raise InputError("a member is encrypted or compressed in an unknown way")
        total = sum(info.file_size for info in self._archive.infolist())
        if total > TOTAL_LIMIT:
            raise LimitError(f"it unpacks to {total / 2**30:.1f} GiB")
        self._read_index()

    def _read_index(self) -> None:
        try:
            index = json.loads(bytes(self._member(INDEX, INDEX_LIMIT)))
            if index["schema"] != SCHEMA:
                raise InputError(f"mask file of schema {index['schema']}, known is {SCHEMA}")
            self.source = str(index["source"])
            for number, tensor in enumerate(index["tensors"]):
                path, shape = str(tensor["path"]), tuple(map(operator.index, tensor["shape"]))
                possible = len(shape) <= RANKS and all(size >= 0 for size in shape)
                possible = possible and math.prod(size or 1 for size in shape) <= SIZE_LIMIT
                if path in self.shapes or not possible:
                    raise InputError(f"the mask of '{path}' is given twice or has a bad shape")
                self.shapes[path] = shape
                self._members[path] = f"m{number}"
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InputError("not a mask file of onnxprune (its index is wrong)") from error

    def _member(self, name: str, limit: int) -> Array:
        """Read an array of at most so many bytes."""
        assert self._archive is not None
        try:
            info = self._archive.getinfo(name + ".npy")
        except KeyError:
            raise InputError(f"not a mask file of onnxprune (no member {name})") from None
        if info.file_size > limit + HEADER:
            raise InputError(f"the member {name} is larger than it can be")
        try:
            return _array(self._archive.read(info))
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"the member {name} is damaged") from error


def _of_torch(file: SourceFile) -> bool:
    """Whether an archive is a model that torch wrote."""
    try:
        with zipfile.ZipFile(io.FileIO(file.descriptor, closefd=False)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False
    return any(name.endswith(("/data.pkl", "/archive_format")) for name in names)


def _array(data: bytes) -> Array:
    """Read a flat array of bytes as numpy writes it, without what else its format allows."""
    head = FLAT.match(data)
    if head is None or head.end() != 10 + int.from_bytes(head[1], "little"):
        raise ValueError("not a flat array of bytes, as numpy writes it")
    values: Array = np.frombuffer(data, np.uint8, offset=head.end())
    if values.size != int(head[2]):
        raise ValueError("cut short, or followed by something else")
    return values


def load(path: str | Path) -> dict[str, Array]:
    """Return the masks of a file by tensor path, True where a weight is kept.

    Args:
        path: a mask file, or a pruned model, whose zeros then make the masks.
    """
    with MaskFile(Path(path)) as file:
        return {tensor: file.mask(tensor) for tensor in file}


def export(model: str | Path, output: str | Path, force: bool = False) -> Exported:
    """Write the masks that a pruned model's zeros make.

    Args:
        model: the pruned model.
        output: the mask file to write.
        force: whether to replace an existing file.
    """
    size = zeros = 0

    def members(file: MaskFile) -> Iterator[tuple[str, Array]]:
        nonlocal size, zeros
        for tensor in file:
            mask = file.mask(tensor)
            size += mask.size
            zeros += mask.size - int(np.count_nonzero(mask))
            yield tensor, mask

    with MaskFile(Path(model)) as file:
        target = check_output(Path(output), file.files, force)
        if not file.shapes:
            raise UsageError(f"{model} has no prunable weight to take masks from")
        write(target, members(file), file.source)
        return Exported(str(output), str(model), len(file.shapes), size, zeros)


def write(target: Path, masks: Iterable[tuple[str, Array]], source: str) -> None:
    """Write masks as a file; the same masks make the same bytes.

    Args:
        target: the file.
        masks: tensor paths with their masks, True where a weight is kept.
        source: the SHA-256 sum of the model they come from.
    """
    tensors: list[dict[str, Any]] = []
    with Temporary(target) as temporary, write_errors(target):
        with (
            open(temporary.descriptor, "wb", closefd=False) as stream,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for path, mask in masks:
                _add(archive, f"m{len(tensors)}", np.packbits(mask.reshape(-1)))
                tensors.append({"path": path, "shape": list(mask.shape)})
            index = {"schema": SCHEMA, "source": source, "tensors": tensors}
            _add(archive, INDEX, np.frombuffer(json.dumps(index).encode(), np.uint8))
        temporary.commit()


def _add(archive: zipfile.ZipFile, name: str, array: Array) -> None:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, allow_pickle=False)
    # A ZipInfo of our own has no date of today in it.
    info = zipfile.ZipInfo(name + ".npy")
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content.getvalue())


def _nonzero(model: Model, path: str) -> Array:
    tensor = model.stored(path)
    parts = [
        tensor.nonzero(tensor.stored(start, min(start + CHUNK, tensor.size)), start)
        for start in range(0, tensor.size, CHUNK)
    ]
    return np.concatenate(parts)
