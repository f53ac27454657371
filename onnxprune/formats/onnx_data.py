"""The values of one tensor in the file: read in pieces, and re-encoded with zeros in them."""

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from onnxprune.errors import InputError
from onnxprune.formats.files import SourceFile
from onnxprune.formats.onnx_tensor import Run, TensorRecord, Varints
from onnxprune.formats.onnx_types import STORAGE, element_count, type_name
from onnxprune.formats.wire import encode_varint, read_exactly, truncated
from onnxprune.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Quantization:
    """Scale and zero point of a quantised tensor, per tensor, per channel or per block."""

    scale: Array
    zero: Array
    channels: int = 1
    inner: int = 1
    block: int = 1

    def at(self, start: int, stop: int) -> tuple[Array, Array]:
        """Return scale and zero point for a range of flat indices."""
        if self.channels == 1 and self.block == 1:
            return self.scale, self.zero
        flat = np.arange(start, stop)
        channel = flat // self.inner % self.channels // self.block
        if self.block > 1:
            blocks = -(-self.channels // self.block)
            outer = flat // (self.inner * self.channels)
            channel = (outer * blocks + channel) * self.inner + flat % self.inner
        scale = self.scale[channel] if self.scale.size > 1 else self.scale
        zero = self.zero[channel] if self.zero.size > 1 else self.zero
        return scale, zero


@dataclass(slots=True, eq=False)
class StoredTensor:
    """Where and how one tensor's values are stored; positions are flat C-order indices."""

    record: TensorRecord
    source: SourceFile
    offset: int | None = None
    quantization: Quantization | None = None
    kind: str = ""
    size: int = 0
    runs: list[Run] = field(default_factory=list)
    _decoded: Array | None = None

    def __post_init__(self) -> None:
        self.kind = type_name(self.record)
        self.size = element_count(self.record)
        width = np.dtype(STORAGE[self.kind]).itemsize
        if self.offset is not None:
            self.runs = [Run(self.offset, self.size, width)]
        elif self.record.fields == ["raw_data"]:
            self.runs = [Run(run.start, run.count // width, width) for run in self.record.runs]
        else:
            self.runs = self.record.runs

    @property
    def packed(self) -> bool:
        """Whether the values are varints, which cannot be found by their index."""
        return bool(self.record.varints)

    def stored(self, start: int, stop: int) -> Array:
        """Return the values of a range as they are stored (bfloat16 as its bits)."""
        if self.packed:
            return self._decode()[start:stop]
        dtype = np.dtype(STORAGE[self.kind])
        parts = []
        first = 0
        for run in self.runs:
            low, high = max(start, first), min(stop, first + run.count)
            if low < high:
                parts.append(self._read_run(run, low - first, high - first, dtype))
            first += run.count
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def values(self, start: int, stop: int) -> Array:
        """Return the real values of a range, as float32 where that is exact, else float64."""
        return self.real(self.stored(start, stop), start)

    def real(self, stored: Array, start: int) -> Array:
        """Turn stored values, the first of which has index `start`, into real ones."""
        if self.quantization is not None:
            scale, zero = self.quantization.at(start, start + stored.size)
            return (stored.astype(np.float64) - zero) * scale
        if self.kind == "BFLOAT16":
            return (stored.astype(np.uint32) << 16).view(np.float32)
        if self.kind == "FLOAT16":
            return stored.astype(np.float32)
        return stored

    def nonzero(self, stored: Array, start: int) -> Array:
        """Return which values are not zero."""
        if self.quantization is not None:
            zero = self.quantization.at(start, start + stored.size)[1]
            return np.asarray(stored != zero.astype(stored.dtype))
        if self.kind == "BFLOAT16":
            return np.asarray(stored << np.uint16(1) != 0)
        return np.asarray(stored != 0)

    def zero_count(self, stored: Array, start: int) -> int:
        """Count the values that are zero."""
        return stored.size - int(np.count_nonzero(self.nonzero(stored, start)))

    def zeroed(self, stored: Array, start: int, pruned: Array) -> Array:
        """Return the stored values with those that are pruned set to zero."""
        if self.quantization is None:
            return stored * ~pruned if stored.dtype.kind == "u" else _masked(stored, pruned)
        zero = self.quantization.at(start, start + stored.size)[1]
        return np.where(pruned, zero.astype(stored.dtype), stored)

    def varint_edits(self, pruned: Array) -> list[tuple[Varints, bytes]]:
        """Return each piece of varints whose bytes change, with its new bytes."""
        zeroed = self.zeroed(self.stored(0, self.size), 0, pruned)
        edits = []
        first = 0
        for piece in self.record.varints:
            old = read_exactly(self.source.descriptor, piece.start, piece.end - piece.start)
            widths = _widths(old)
            last = first + len(widths)
            here = pruned[first:last]
            if here.any():
                edits.append((piece, _rewrite(old, widths, here, zeroed[first:last])))
            first = last
        return edits

    def _read_run(self, run: Run, low: int, high: int, dtype: np.dtype[Any]) -> Array:
        start = run.start + low * run.step
        length = (high - low - 1) * run.step + dtype.itemsize
        data = read_exactly(self.source.descriptor, start, length)
        return np.ndarray((high - low,), dtype, data, strides=(run.step,))

    def _decode(self) -> Array:
        if self._decoded is None:
            pieces = [
                read_exactly(self.source.descriptor, piece.start, piece.end - piece.start)
                for piece in self.record.varints
            ]
            values = _decode_varints(b"".join(pieces))
            if values.size != self.size:
                name = self.record.name
                raise InputError(
                    f"'{name}': {values.size:,} values for {self.size:,} elements"
                )
            kind = STORAGE[self.kind]
            if kind == "<f2":
                self._decoded = values.astype(np.uint16).view(np.float16)
            else:
                self._decoded = values.astype(np.int64).astype(kind)
        return self._decoded


def _masked(stored: Array, pruned: Array) -> Array:
    # A product would keep the sign of what it zeroes; bits do not.
    bits = stored.view(f"u{stored.dtype.itemsize}")
    return (bits * ~pruned).view(stored.dtype)


def _widths(data: bytes) -> Array:
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) < 0x80) + 1
    if ends[-1:].sum() != len(data):
        raise truncated()
    return np.diff(ends, prepend=0)


def _decode_varints(data: bytes) -> Array:
    raw = np.frombuffer(data, np.uint8)
    widths = _widths(data)
    if widths.size and widths.max() > 10:
        raise InputError("a varint is longer than ten bytes")
    starts = np.cumsum(widths) - widths
    values = np.zeros(widths.size, np.uint64)
    for place in range(int(widths.max(initial=0))):
        there = widths > place
        digits = (raw[starts[there] + place] & 0x7F).astype(np.uint64)
        values[there] |= digits << np.uint64(7 * place)
    return values


def _rewrite(old: bytes, widths: Array, pruned: Array, values: Array) -> bytes:
    """Write the values of pruned places in as many bytes as they had, where that is enough."""
    out = bytearray()
    copied = 0
    ends = list(accumulate(widths.tolist()))
    for index in np.flatnonzero(pruned).tolist():
        end, width = ends[index], int(widths[index])
        out += old[copied : end - width]
        out += encode_varint(int(values[index]) & 0xFFFFFFFFFFFFFFFF, width)
        copied = end
    return bytes(out + old[copied:])
