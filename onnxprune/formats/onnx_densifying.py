"""A model file whose sparse tensors are written as dense ones, every other byte as it was."""

import os
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from onnxprune.errors import LimitError
from onnxprune.formats.files import SourceFile, state_of
from onnxprune.formats.onnx_external import Places, resolve
from onnxprune.formats.onnx_shells import opening, shell_of
from onnxprune.formats.onnx_sparse import (
    ATTRIBUTE,
    NAME,
    SparseTensor,
    check_expansion,
    find_sparse,
    open_sparse,
)
from onnxprune.formats.onnx_wire import Scan
from onnxprune.formats.output import check_space, write_at
from onnxprune.formats.rewriting import write_spliced
from onnxprune.formats.scratch import scratch_file
from onnxprune.formats.splice import Filling, Shift, Splice
from onnxprune.formats.wire import Reader, encode_varint, parts_of

INITIALIZER, TENSOR = 5, 5
"""The fields of graphs and of attributes that hold dense tensors."""

TYPE, OF_TENSOR = 20, 4
"""The field of an attribute that says what it is, and what it says of tensors."""

VALUE = b"value"
BLOCK = 1 << 20
WINDOW = 1 << 26
"""So many bytes of a tensor are held: of one whose values are in order, and of others."""


@dataclass(frozen=True, slots=True, eq=False)
class Densified:
    """A model file with a dense copy.

    Args:
        source: the file; `files`: of external data that it names.
        files: see above.
        content: the copy, which has no name of its own.
        names: of the main graph's initializers that were sparse.
        tensors: how many tensors were sparse; `dense_bytes`: what their fields take in the
            copy; `sparse_bytes`: in the files.
        dense_bytes: see above.
        sparse_bytes: see above.
    """

    source: SourceFile
    files: tuple[SourceFile, ...]
    content: SourceFile
    names: tuple[str, ...]
    tensors: int
    dense_bytes: int
    sparse_bytes: int


def densify(
    source: SourceFile, scan: Scan, places: Places, size_limit: int
) -> Densified | None:
    """Write a model with dense tensors into a nameless file; None if none is sparse.

    Args:
        source: the model file.
        scan: of it.
        places: where external data may come from.
        size_limit: how large the copy may be.
    """
    found = find_sparse(scan, source)
    if not found:
        return None
    opened: dict[str, SourceFile] = {}
    try:
        offsets = resolve(source, scan.tensors, opened, places)
        files = tuple({id(file): file for file in opened.values()}.values())
        check_expansion(found, source.size + sum(file.size for file in files))
        tensors = open_sparse(scan, found, source, opened, offsets)
        return _copy(source, files, tensors, size_limit)
    except BaseException:
        for file in set(opened.values()):
            file.close()
        raise


def _copy(
    source: SourceFile,
    files: tuple[SourceFile, ...],
    tensors: list[SparseTensor],
    size_limit: int,
) -> Densified:
    reader = Reader(source.descriptor, source.size)
    splices = []
    dense_bytes = 0
    for tensor in tensors:
        made = _splices(reader, tensor)
        dense_bytes += sum(map(_length, made))
        splices += made
    size = source.size + Shift(splices).growth
    if size > size_limit:
        raise LimitError(
            f"with dense tensors the model has {size / 2**30:.1f} GiB"
            f" (one protobuf message holds {size_limit / 2**30:.0f})"
        )
    sparse_bytes = sum(each.frame.end - each.begin + each.outside for each in tensors)
    names = tuple(tensor.name for tensor in tensors if tensor.initializer)
    content = _written(source, splices, size)
    return Densified(source, files, content, names, len(tensors), dense_bytes, sparse_bytes)


def _written(source: SourceFile, splices: list[Splice], size: int) -> SourceFile:
    with scratch_file() as file:
        descriptor = os.dup(file.fileno())
    folder = Path(tempfile.gettempdir())
    try:
        check_space(folder, size)
        write_spliced(source, splices, descriptor, folder / "a dense copy")
    except BaseException:
        os.close(descriptor)
        raise
    # What is beside the model is still looked for beside it.
    return SourceFile(source.path, descriptor, size, state_of(os.fstat(descriptor)))


def _splices(reader: Reader, tensor: SparseTensor) -> list[Splice]:
    """Return the edits that put a dense tensor in the place of a sparse one."""
    parent, end = tensor.frame.parent, tensor.frame.end
    assert parent is not None
    head, tail = shell_of(reader, tensor.values.record).around(tensor.dense.dims, tensor.bytes)
    constant = tensor.address[-2] == ATTRIBUTE
    field = TENSOR if constant else INITIALIZER
    head = opening(field, len(head) + tensor.bytes + len(tail)) + head

    filling = Filling(
        tensor.bytes, partial(_spread if tensor.in_order() else _scatter, tensor)
    )
    made = [
        Splice(tensor.begin, end, head, parent, filling),
        Splice(end, end, tail, parent),
    ]
    if constant:
        for part in parts_of(reader, parent):
            if part.number == NAME and part.frame is not None:
                made.append(Splice(part.frame.start, part.frame.end, VALUE, part.frame))
            elif part.number == TYPE and part.frame is None:
                kind = encode_varint(OF_TENSOR)
                made.append(Splice(part.value, part.end, kind, parent))
    return made


def _length(splice: Splice) -> int:
    return len(splice.data) + (splice.filling.size if splice.filling is not None else 0)


def _spread(tensor: SparseTensor, descriptor: int, start: int, target: Path) -> None:
    """Put values in their places, which ascend, in a file that holds zeros there."""
    width = tensor.values.width
    room = BLOCK // width
    for positions, values in tensor.pieces():
        cuts = np.flatnonzero(np.diff(positions // room)) + 1
        pairs = zip(np.split(positions, cuts), np.split(values, cuts), strict=True)
        for places, bits in pairs:
            first = int(places[0])
            block = np.zeros(int(places[-1]) + 1 - first, bits.dtype)
            block[places - first] = bits
            write_at(descriptor, block.tobytes(), start + first * width, target)


def _scatter(tensor: SparseTensor, descriptor: int, start: int, target: Path) -> None:
    """Put values in their places, window by window, from wherever they are in their order."""
    width = tensor.values.width
    size, room = tensor.bytes // width, WINDOW // width
    for low in range(0, size, room):
        block = np.zeros(min(room, size - low), f"<u{width}")
        taken = np.zeros(block.size, bool)
        for positions, values in tensor.pieces():
            here = (positions >= low) & (positions < low + block.size)
            places = positions[here] - low
            ordered = np.sort(places)
            again = taken[ordered] | (np.diff(ordered, prepend=-1) == 0)
            if again.any():
                raise tensor.repeated(low + int(ordered[np.flatnonzero(again)[0]]))
            taken[places] = True
            block[places] = values[here]
        write_at(descriptor, block.tobytes(), start + low * width, target)
