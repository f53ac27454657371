"""The sparse tensors of a file: found, checked before they are believed, read in pieces."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.bounds import FREE, bounds
from onnxprune.errors import InputError, LimitError
from onnxprune.formats.files import SourceFile
from onnxprune.formats.onnx_cells import Cells, has_cells, width_of
from onnxprune.formats.onnx_tensor import TensorRecord, read_name
from onnxprune.formats.onnx_types import element_count, type_name
from onnxprune.formats.onnx_wire import Scan
from onnxprune.formats.wire import Frame, Reader, parts_of, signed
from onnxprune.types import Array

Address = tuple[int, ...]
INITIALIZER, ATTRIBUTE = 15, 22
"""The fields of graphs and of attributes that hold sparse tensors."""

VALUES, INDICES, DIMS = 1, 2, 3
"""The fields of a sparse tensor."""

NAME = 1
"""Of an attribute."""

OUTPUT, OPERATOR, OF_NODE, DOMAIN = 2, 4, 5, 7
"""Fields of a node; its attributes are the third."""

CONSTANT = "sparse_value"
INDEX_TYPES = ("INT64", "INT32", "INT16", "INT8")
ROWS = 1 << 16
EXPANSION = 1_000
"""Sparse tensors may take so many times the bytes of their files, and always `FREE`."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseTensor:
    """One sparse tensor.

    Args:
        address: of its message; `begin`: where its field begins; `frame`: its content.
        begin: see above.
        frame: see above.
        dense: what it is as a whole: name, type and dimensions.
        values: the values that are stored.
        indices: their places; None if there is nothing to place.
    """

    address: Address
    begin: int
    frame: Frame
    dense: TensorRecord
    values: Cells
    indices: Cells | None

    @property
    def name(self) -> str:
        """Return what it is called."""
        return self.dense.name

    @property
    def initializer(self) -> bool:
        """Whether it is an initializer of the main graph."""
        return self.address[:3] == (7, 0, INITIALIZER)

    @property
    def outside(self) -> int:
        """Count the bytes of its data that lie in other files."""
        parts = (self.values, *([] if self.indices is None else [self.indices]))
        return sum(
            element_count(part.record) * part.width for part in parts if part.record.external
        )

    @property
    def bytes(self) -> int:
        """Count the bytes of all its elements."""
        return element_count(self.dense) * self.values.width

    def positions(self) -> Iterator[Array]:
        """Go through the flat positions of the values, as far as they are stored in order."""
        if self.indices is None:
            return
        dims, size = self.dense.dims, element_count(self.dense)
        flat = len(self.indices.record.dims) == 1
        for batch in self.indices.batches(ROWS if flat else ROWS * len(dims)):
            numbers: Array = batch.view(f"<i{batch.itemsize}").astype(np.int64)
            rows = numbers.reshape(-1, 1 if flat else len(dims))
            limits = np.array([size] if flat else dims)
            outside = np.flatnonzero(((rows < 0) | (rows >= limits)).any(axis=1))
            if outside.size:
                first = rows[outside[0]].tolist()
                raise InputError(
                    f"'{self.name}': sparse index {first[0] if flat else first} is out of"
                    f" range of {dims}"
                )
            yield numbers if flat else np.asarray(np.ravel_multi_index(tuple(rows.T), dims))

    def pieces(self) -> Iterator[tuple[Array, Array]]:
        """Go through the flat positions and the bits of the values, some at once."""
        return zip(self.positions(), self.values.batches(ROWS), strict=True)

    def in_order(self) -> bool:
        """Whether positions ascend; refuse those that are outside."""
        last = -1
        for batch in self.positions():
            steps = np.diff(batch, prepend=last)
            if (steps < 0).any():
                return False
            if not steps.all():
                raise self.repeated(int(batch[np.flatnonzero(steps == 0)[0]]))
            last = int(batch[-1])
        return True

    def repeated(self, position: int) -> InputError:
        """Say that a place has two values."""
        return InputError(f"'{self.name}': sparse index {position} is given twice")


def find_sparse(scan: Scan, source: SourceFile) -> list[TensorRecord]:
    """Return what the sparse tensors of a file are as a whole, and name their parts.

    Those that are no initializers and no values of Constant nodes, and those of types without
    whole bytes, are left out.
    """
    reader = Reader(source.descriptor, source.size)
    found = []
    for address, (_, frame) in scan.sparse.items():
        if address[-2] != INITIALIZER and not _is_constant(reader, address, frame):
            continue
        values = scan.tensors.get((*address, VALUES, 0))
        if values is None:
            raise InputError(f"sparse tensor #{address[-1]} has no values")
        if not values.name and address[-2] == INITIALIZER:
            raise InputError(f"sparse initializer #{address[-1]} has no name")
        name = values.name or _output(reader, frame)
        values.name = name
        indices = scan.tensors.get((*address, INDICES, 0))
        if indices is not None:
            indices.name = f"{name} (indices)"
        if has_cells(values):
            dense = TensorRecord(address, frame, name, values.data_type)
            dense.dims = _dims(reader, frame)
            found.append(dense)
    return found


def check_expansion(found: list[TensorRecord], present: int) -> None:
    """Refuse tensors that would take far more memory than their files.

    Args:
        found: what sparse tensors are as a whole.
        present: the bytes of the files.
    """
    limit = max(FREE, int(bounds().times(EXPANSION) * present))
    total = 0
    for dense in found:
        size = element_count(dense) * width_of(dense)
        total += size
        if total > limit:
            all_of_them = "" if total == size else f", {spell(total)} with those before it"
            raise LimitError(
                f"'{dense.name}': sparse tensor expands to {spell(size)}{all_of_them}"
                f" (the limit for this file is {spell(limit)})",
                "--max-amplification allows more",
            )


def open_sparse(
    scan: Scan,
    found: list[TensorRecord],
    source: SourceFile,
    files: Mapping[str, SourceFile],
    offsets: Mapping[Address, int],
) -> list[SparseTensor]:
    """Return sparse tensors with what they hold, after a look at their structure.

    Args:
        scan: of the file.
        found: what they are as a whole.
        source: the file.
        files: of external data, by location; `offsets`: of tensors in them.
        offsets: see above.
    """

    def cells(record: TensorRecord) -> Cells:
        if record.external is None:
            return Cells(record, source)
        return Cells(
            record, files[record.external.entries["location"]], offsets[record.address]
        )

    tensors = []
    for dense in found:
        values = scan.tensors[(*dense.address, VALUES, 0)]
        indices = scan.tensors.get((*dense.address, INDICES, 0))
        _check_structure(dense, values, indices)
        begin, frame = scan.sparse[dense.address]
        places = cells(indices) if indices is not None and values.dims[0] else None
        tensors.append(SparseTensor(dense.address, begin, frame, dense, cells(values), places))
    return tensors


def _check_structure(
    dense: TensorRecord, values: TensorRecord, indices: TensorRecord | None
) -> None:
    name, size = dense.name, element_count(dense)
    if not dense.dims:
        raise InputError(f"'{name}': sparse tensor without dimensions")
    if len(values.dims) != 1:
        raise InputError(f"'{name}': sparse values of shape {values.dims}, not in a row")
    count = values.dims[0]
    if count > size:
        raise InputError(f"'{name}': {count:,} sparse values for {size:,} elements")
    if indices is None:
        if count:
            raise InputError(f"'{name}': {count:,} sparse values without indices")
        return
    if type_name(indices) not in INDEX_TYPES:
        known = ", ".join(INDEX_TYPES)
        raise InputError(f"'{name}': sparse indices of {type_name(indices)}, not of {known}")
    if indices.dims not in ([count], [count, len(dense.dims)]):
        raise InputError(
            f"'{name}': sparse indices of shape {indices.dims} for {count:,} values of a"
            f" tensor of shape {dense.dims}"
        )


def spell(size: int) -> str:
    """Spell a number of bytes."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:,.4g} TiB"


def _dims(reader: Reader, frame: Frame) -> list[int]:
    dims = []
    for part in parts_of(reader, frame):
        if part.number != DIMS:
            continue
        at, end = part.value, part.end
        if part.frame is not None:
            at = part.frame.start
        while at < end:
            number, at = reader.varint(at, end)
            dims.append(signed(number))
    return dims


def _is_constant(reader: Reader, address: Address, frame: Frame) -> bool:
    """Whether a sparse tensor in an attribute is the value of a Constant node."""
    attribute = frame.parent
    assert attribute is not None
    if address[-2] != ATTRIBUTE or address[-4] != OF_NODE or attribute.parent is None:
        return False
    node = _texts(reader, attribute.parent, (OPERATOR, DOMAIN))
    return (
        _texts(reader, attribute, (NAME,)).get(NAME) == CONSTANT
        and node.get(OPERATOR) == "Constant"
        and node.get(DOMAIN, "") in ("", "ai.onnx")
    )


def _output(reader: Reader, frame: Frame) -> str:
    """Return what a Constant node is called whose attribute holds a sparse tensor."""
    assert frame.parent is not None and frame.parent.parent is not None
    return _texts(reader, frame.parent.parent, (OUTPUT,)).get(OUTPUT, "")


def _texts(reader: Reader, frame: Frame, wanted: tuple[int, ...]) -> dict[int, str]:
    return {
        part.number: read_name(reader, part.frame)
        for part in parts_of(reader, frame)
        if part.number in wanted and part.frame is not None
    }
