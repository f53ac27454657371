"""The elements of any tensor of whole bytes, in order and in pieces, as numbers without a sign."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onnxprune.errors import InputError
from onnxprune.formats.files import SourceFile
from onnxprune.formats.onnx_tensor import Run, TensorRecord, Varints
from onnxprune.formats.onnx_types import BITS, element_count, type_name
from onnxprune.formats.onnx_varints import LONGEST, decode_varints
from onnxprune.formats.wire import read_exactly, truncated
from onnxprune.types import Array

BLOCK = 1 << 20
WIDTHS = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Where the elements of a tensor lie.

    Args:
        record: the tensor.
        source: the file that holds them.
        offset: of the first, if the file is one of external data.
    """

    record: TensorRecord
    source: SourceFile
    offset: int | None = None

    @property
    def width(self) -> int:
        """Return the bytes of one element."""
        return width_of(self.record)

    def batches(self, size: int) -> Iterator[Array]:
        """Go through the elements, so many at once but for the last ones."""
        count = element_count(self.record)
        total, waiting, held = 0, 0, list[Array]()
        for piece in self._pieces():
            total += piece.size
            self._refuse_others(total > count, total)
            waiting += piece.size
            held.append(piece)
            if waiting < size:
                continue
            joined = np.concatenate(held)
            whole = waiting // size * size
            yield from joined[:whole].reshape(-1, size)
            held, waiting = [joined[whole:]], waiting - whole
        self._refuse_others(total < count, total)
        if waiting:
            yield np.concatenate(held)

    def _refuse_others(self, wrong: bool, total: int) -> None:
        if wrong:
            count, name = element_count(self.record), self.record.name
            some = f"{total:,} values or more" if total > count else f"{total:,} values"
            raise InputError(f"'{name}': {some} for {count:,} elements")

    def _pieces(self) -> Iterator[Array]:
        width = self.width
        if self.offset is not None:
            yield from self._fixed(Run(self.offset, element_count(self.record), width))
        elif self.record.fields == ["raw_data"]:
            for run in self.record.runs:
                yield from self._fixed(Run(run.start, run.count // width, width))
        else:
            for run in self.record.runs:
                yield from self._fixed(run)
            for piece in self.record.varints:
                yield from self._varints(piece)

    def _fixed(self, run: Run) -> Iterator[Array]:
        width = self.width
        room = BLOCK // run.step
        for low in range(0, run.count, room):
            count = min(room, run.count - low)
            length = (count - 1) * run.step + width
            data = read_exactly(self.source.descriptor, run.start + low * run.step, length)
            yield np.ndarray((count,), f"<u{width}", data, strides=(run.step,))

    def _varints(self, piece: Varints) -> Iterator[Array]:
        at, carried = piece.start, b""
        while at < piece.end:
            count = min(BLOCK, piece.end - at)
            data = carried + read_exactly(self.source.descriptor, at, count)
            at += count
            ends = np.flatnonzero(np.frombuffer(data, np.uint8) < 0x80)
            cut = int(ends[-1]) + 1 if ends.size else 0
            carried = data[cut:]
            if len(carried) > LONGEST:
                raise InputError("a varint is longer than ten bytes")
            # What a number has above its type's bits is its sign.
            yield decode_varints(data[:cut]).astype(f"<u{self.width}")
        if carried:
            raise truncated()


def has_cells(record: TensorRecord) -> bool:
    """Whether a tensor's elements are numbers of whole bytes."""
    kind = type_name(record)
    return BITS[kind] in WIDTHS and not kind.startswith("COMPLEX")


def width_of(record: TensorRecord) -> int:
    """Return the bytes of one element of a tensor."""
    return BITS[type_name(record)] // 8
