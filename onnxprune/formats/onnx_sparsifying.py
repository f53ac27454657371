"""Initializers stored sparse where that is smaller, so that they can be made dense bit by bit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from onnxprune.errors import OutputError
from onnxprune.formats.edits import Edit
from onnxprune.formats.onnx_cells import Cells, has_cells
from onnxprune.formats.onnx_densifying import INITIALIZER
from onnxprune.formats.onnx_file import OnnxModel, file_hash, load_onnx
from onnxprune.formats.onnx_shells import (
    Shell,
    indices_shell,
    is_plain,
    numbers,
    opening,
    shell_of,
)
from onnxprune.formats.onnx_sparse import DIMS, INDICES, ROWS, VALUES
from onnxprune.formats.onnx_sparse import INITIALIZER as SPARSE_INITIALIZER
from onnxprune.formats.onnx_tensor import TensorRecord
from onnxprune.formats.output import Temporary, write_at
from onnxprune.formats.rewriting import write_spliced
from onnxprune.formats.splice import Filling, Splice
from onnxprune.formats.wire import Reader
from onnxprune.selection import CHUNK
from onnxprune.storage import SPARSE, Storage
from onnxprune.threads import parallel

KNOWN_SINCE = 6
"""The first IR version that has sparse tensors."""

GRAPH = (7, 0)
TAG = opening(INITIALIZER, 0)[:-1]
"""What the field of an initializer begins with."""

INDEX = 8
"""The bytes of one index: onnx.checker takes no others."""

NO_SMALLER = "would not get smaller"


@dataclass(frozen=True, slots=True)
class Form:
    """What one initializer is when it is stored sparse.

    Args:
        path: its path.
        kept: how many values are stored.
        dense: the bytes of its field as it is; `sparse`: those of the sparse one.
        sparse: see above.
        parts: what that has before the values, between them and the indices, and behind those.
    """

    path: str
    kept: int
    dense: int
    sparse: int
    parts: tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Which of some tensors are stored sparse, and why others are not."""

    paths: Sequence[str]
    forms: list[Form] = field(default_factory=list)
    stay: Counter[str] = field(default_factory=Counter)

    @property
    def storage(self) -> Storage:
        """Return what a report says of it."""
        return Storage(
            SPARSE,
            len(self.forms),
            sum(form.dense for form in self.forms),
            sum(form.sparse for form in self.forms),
            tuple(self.stay.most_common()),
        )


def choose(
    model: OnnxModel, paths: Sequence[str], edits: Mapping[str, Edit] | None = None
) -> Choice:
    """Choose which tensors are stored sparse: those whose fields get smaller.

    Args:
        model: the open model.
        paths: of the tensors that may be.
        edits: what becomes of them before that.
    """
    reader = Reader(model.source.descriptor, model.source.size)
    choice = Choice(paths)
    possible = []
    for path in paths:
        reason = _obstacle(model, reader, path)
        if reason is not None:
            choice.stay[reason] += 1
        else:
            possible.append(path)
    kept = parallel(lambda path: _kept(model, path, (edits or {}).get(path)), possible)
    for path, count in zip(possible, kept, strict=True):
        form = _form(model, reader, path, count)
        if form.sparse < form.dense:
            choice.forms.append(form)
        else:
            choice.stay[NO_SMALLER] += 1
    choice.forms.sort(key=lambda form: _record(model, form.path).frame.start)
    return choice


def write_sparse(
    dense: OnnxModel,
    paths: Sequence[str],
    temporary: Temporary,
    data_files: Mapping[str, Path],
) -> Storage:
    """Write a dense model with some initializers sparse; see that it can be made dense again.

    Args:
        dense: the model.
        paths: of the initializers that may be sparse.
        temporary: receives the file.
        data_files: where the model's external data are, by location.
    """
    choice = choose(dense, paths)
    splices = [splice for form in choice.forms for splice in _splices(dense, form)]
    write_spliced(dense.source, splices, temporary.descriptor, temporary.target)
    with load_onnx(temporary.path, data_files) as again:
        if file_hash(again.source) != file_hash(dense.source):
            raise OutputError("what was written sparse is not read back as it was")
    return choice.storage


def _obstacle(model: OnnxModel, reader: Reader, path: str) -> str | None:
    """Return why a tensor cannot be stored sparse, or None if it can be."""
    constant = model.graph.by_path[path]
    record = constant.record
    if record.address[:-1] != (*GRAPH, INITIALIZER):
        return "in a node, a subgraph or a function"
    if record.external is not None:
        return "in a data file"
    if constant.name in constant.scope.inputs:
        return "an input of the graph, too"
    if constant.name in constant.scope.outputs:
        return "an output of the graph, too"
    version = model.graph.model.ir_version
    if version < KNOWN_SINCE:
        return f"in IR version {version}, which has no sparse tensors"
    shell = shell_of(reader, record)
    plain = has_cells(record) and is_plain(reader, record.frame, TAG)
    if not plain or not shell.is_whole(reader, record):
        return "in an encoding that could not be restored"
    return None


def _kept(model: OnnxModel, path: str, edit: Edit | None) -> int:
    """Count the values that are not made of zero bits."""
    if edit is None:
        cells = _cells(model, path)
        return sum(int(np.count_nonzero(batch)) for batch in cells.batches(CHUNK))
    tensor = model.stored(path)
    count = 0
    for start in range(0, tensor.size, CHUNK):
        raw = tensor.stored(start, min(start + CHUNK, tensor.size))
        after = np.ascontiguousarray(edit.apply(tensor, raw, start))
        count += int(np.count_nonzero(after.view(f"u{after.itemsize}")))
    return count


def _form(model: OnnxModel, reader: Reader, path: str, kept: int) -> Form:
    record = _record(model, path)
    width = _cells(model, path).width
    parts = _parts(shell_of(reader, record), record.dims, kept, width)
    frame = record.frame
    dense = frame.end - frame.length_at + len(TAG)
    sparse = sum(map(len, parts)) + kept * (width + INDEX)
    return Form(path, kept, dense, sparse, parts)


def _parts(
    shell: Shell, dims: Sequence[int], kept: int, width: int
) -> tuple[bytes, bytes, bytes]:
    """Write a sparse tensor's field but for its values and indices."""
    head, tail = shell.around([kept], kept * width)
    places = indices_shell(kept)
    values = opening(VALUES, len(head) + kept * width + len(tail)) + head
    indices = opening(INDICES, len(places) + kept * INDEX) + places
    sizes = numbers(DIMS, dims)
    length = len(values) + len(tail) + len(indices) + len(sizes) + kept * (width + INDEX)
    return opening(SPARSE_INITIALIZER, length) + values, tail + indices, sizes


def _splices(model: OnnxModel, form: Form) -> list[Splice]:
    """Return the edits that put a sparse initializer in the place of a dense one."""
    frame = _record(model, form.path).frame
    graph = frame.parent
    assert graph is not None
    cells = _cells(model, form.path)
    values = Filling(form.kept * cells.width, partial(_write_values, cells))
    indices = Filling(form.kept * INDEX, partial(_write_indices, cells))
    begin = frame.length_at - len(TAG)
    before, between, behind = form.parts
    return [
        Splice(begin, frame.end, before, graph, values),
        Splice(frame.end, frame.end, between, graph, indices),
        Splice(frame.end, frame.end, behind, graph),
    ]


def _write_values(cells: Cells, descriptor: int, at: int, target: Path) -> None:
    for batch in cells.batches(ROWS):
        data = batch[batch != 0].tobytes()
        write_at(descriptor, data, at, target)
        at += len(data)


def _write_indices(cells: Cells, descriptor: int, at: int, target: Path) -> None:
    first = 0
    for batch in cells.batches(ROWS):
        data = (np.flatnonzero(batch) + first).astype("<i8").tobytes()
        write_at(descriptor, data, at, target)
        at += len(data)
        first += batch.size


def _record(model: OnnxModel, path: str) -> TensorRecord:
    return model.graph.by_path[path].record


def _cells(model: OnnxModel, path: str) -> Cells:
    return Cells(_record(model, path), model.source)
