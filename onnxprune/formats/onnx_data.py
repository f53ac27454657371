"""The values of one tensor in the file: read in pieces, and encoded again when they change."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxprune.errors import InputError, OutputError
from onnxprune.formats.files import SourceFile
from onnxprune.formats.onnx_tensor import Run, TensorRecord, Varints
from onnxprune.formats.onnx_types import NUMPY_NAMES, STORAGE, element_count, type_name
from onnxprune.formats.onnx_varints import decode_varints, rewrite_varints, widths_of
from onnxprune.formats.wire import read_exactly
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

    def encoded(self, values: Array, start: int) -> Array:
        """Return the stored values that are nearest to real ones, ties going to even numbers.

        Args:
            values: real values, all of them finite.
            start: the index of the first.
        """
        if np.dtype(STORAGE[self.kind]).kind == "f" or self.kind == "BFLOAT16":
            return encode_floats(self.kind, values, self.record.name)
        return self._quantized(values, start)

    def varint_edits(self, before: Array, after: Array) -> list[tuple[Varints, bytes]]:
        """Return each piece of varints whose bytes change, with its new bytes.

        Args:
            before: all stored values as they are.
            after: as they are to be.
        """
        old_numbers, numbers = _numbers(before), _numbers(after)
        changed = old_numbers != numbers
        edits = []
        first = 0
        for piece in self.record.varints:
            old = read_exactly(self.source.descriptor, piece.start, piece.end - piece.start)
            widths = widths_of(old)
            here = slice(first, first + len(widths))
            if changed[here].any():
                new = rewrite_varints(old, widths, changed[here], numbers[here])
                edits.append((piece, new))
            first += len(widths)
        return edits

    def _quantized(self, values: Array, start: int) -> Array:
        _refuse_infinite(values, self.record.name)
        dtype = np.dtype(STORAGE[self.kind])
        scale, zero = np.ones(1), np.zeros(1)
        if self.quantization is not None:
            scale, zero = self.quantization.at(start, start + values.size)
        real = values.astype(np.float64)
        # Where the scale is zero, every number means zero.
        with np.errstate(over="ignore"):
            steps = np.divide(real, scale, out=np.zeros_like(real), where=scale != 0)
        limits = np.iinfo(dtype)
        return np.clip(np.rint(steps) + zero, limits.min, limits.max).astype(dtype)

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
            values = decode_varints(b"".join(pieces))
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


def encode_floats(kind: str, values: Array, name: str) -> Array:
    """Return real values as a type of floats stores them, rounded to the nearest.

    Args:
        kind: the type.
        values: the real values.
        name: what to call the tensor in a message.
    """
    _refuse_infinite(values, name)
    with np.errstate(over="ignore"):
        if kind == "BFLOAT16":
            made = _bfloat16(values)
            beyond = (made & 0x7FFF) >= 0x7F80
        else:
            made = values.astype(STORAGE[kind])
            beyond = np.isinf(made)
    if beyond.any():
        first = float(values[np.flatnonzero(beyond)[0]])
        raise OutputError(f"'{name}': {first:g} is too large for {NUMPY_NAMES[kind]}")
    return made


def _bfloat16(values: Array) -> Array:
    single = values.astype("<f4")
    bits = single.view("<u4")
    # What was rounded before must not look like a tie: towards zero, then to an odd number.
    inexact = single != values
    bits = np.where(np.abs(single) > np.abs(values), bits - np.uint32(1), bits)
    bits = bits | inexact
    up = np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return np.asarray((bits + up) >> np.uint32(16), "<u2")


def _refuse_infinite(values: Array, name: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        wrong = "NaN" if np.isnan(values[~finite][0]) else "Inf"
        raise OutputError(f"'{name}': {wrong} is no value for it")


def _numbers(stored: Array) -> Array:
    """Return the numbers that varints hold for stored values; negative ones fill 64 bits."""
    plain = stored.view("<u2") if stored.dtype.kind == "f" else stored
    return plain.astype(np.int64).view(np.uint64)
