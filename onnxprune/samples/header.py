"""The header that numpy puts before an array in a file: parsed without trusting it."""

import ast
import math
import struct
import warnings
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from onnxprune.bounds import refuse_amplified
from onnxprune.errors import InputError, UnsafeError
from onnxprune.samples.table import Spec

MAGIC = b"\x93NUMPY"
PICKLE = b"\x80"
"""Begins what pickle writes, in all protocols since the second."""

HEADER_LIMIT = 1 << 16
SIZE_LIMIT = 1 << 50
DIMENSIONS = 64
AMPLIFICATION = 8
"""What claims so many times the bytes that are there was not just cut short."""

KEYS = {"descr", "fortran_order", "shape"}
MISREAD = (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of the array in it.

    Args:
        spec: its element type and shape.
        fortran: whether the first dimension varies fastest.
    """

    spec: Spec
    fortran: bool

    @property
    def bytes(self) -> int:
        """The bytes that its values need."""
        return math.prod(self.spec.shape) * self.spec.dtype.itemsize


def read_header(stream: IO[bytes], name: str) -> Header:
    """Read an array's header; the stream is then at its values."""
    start = stream.read(len(MAGIC) + 2)
    if start.startswith(PICKLE):
        raise UnsafeError(f"'{name}' is pickled, which can run code", "store plain arrays")
    if len(start) < len(MAGIC) + 2 or not start.startswith(MAGIC):
        raise InputError(f"'{name}' is not an array as numpy writes it")
    major = start[len(MAGIC)]
    kind = "<H" if major == 1 else "<I"
    width = stream.read(struct.calcsize(kind))
    length = struct.unpack(kind, width)[0] if len(width) == struct.calcsize(kind) else 0
    if major not in (1, 2, 3) or not 0 < length <= HEADER_LIMIT:
        raise InputError(f"'{name}' has a header that numpy would not write")
    text = stream.read(length)
    if len(text) < length:
        raise InputError(f"'{name}' is cut short")
    try:
        with warnings.catch_warnings():
            # What Python thinks of the text's style is of no use to anybody.
            warnings.simplefilter("ignore")
            return _parse(text.decode("utf-8" if major == 3 else "latin-1"), name)
    except MISREAD as error:
        raise InputError(f"'{name}' has a damaged header") from error


def check_length(header: Header, found: int, name: str) -> None:
    """Refuse an array whose values are not as many as its header says."""
    refuse_amplified(f"'{name}' makes", header.bytes, found, AMPLIFICATION)
    if found != header.bytes:
        raise InputError(f"'{name}' has {found:,} bytes, its shape needs {header.bytes:,}")


def _parse(text: str, name: str) -> Header:
    fields: Any = ast.literal_eval(text.strip())
    if not isinstance(fields, dict) or fields.keys() != KEYS:
        raise ValueError("no header")
    shape, fortran, kind = fields["shape"], fields["fortran_order"], fields["descr"]
    sizes = isinstance(shape, tuple) and all(type(size) is int for size in shape)
    if not (sizes and isinstance(fortran, bool) and type(kind) in (str, list)):
        raise ValueError("wrong fields")
    dtype = np.lib.format.descr_to_dtype(kind)
    if dtype.hasobject:
        raise UnsafeError(f"'{name}' holds pickled objects", "store plain arrays")
    if (
        len(shape) > DIMENSIONS
        or any(size < 0 for size in shape)
        or math.prod(size or 1 for size in shape) * dtype.itemsize > SIZE_LIMIT
    ):
        raise InputError(f"'{name}' has an impossible shape")
    if dtype.itemsize == 0:
        raise InputError(f"'{name}' holds nothing but empty text")
    return Header(Spec(dtype, shape), fortran and len(shape) > 1)
