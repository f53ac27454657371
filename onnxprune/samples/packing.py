"""Writes sets of samples: arrays, piece by piece, into an archive that can be mapped."""

import zipfile
from collections.abc import Iterable
from typing import IO, NamedTuple

import numpy as np

from onnxprune.errors import InputError
from onnxprune.samples.table import Spec
from onnxprune.types import Array


class Packed(NamedTuple):
    """An array to be written: its name, its type and shape, and its rows in order."""

    name: str
    spec: Spec
    pieces: Iterable[Array]


def pack(stream: IO[bytes], arrays: Iterable[Packed]) -> None:
    """Write arrays as an .npz archive without compression: the same bytes for the same arrays."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, spec, pieces in arrays:
            # A member without a date of its own does not tell when it was written.
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as target:
                fields = {
                    "descr": np.lib.format.dtype_to_descr(spec.dtype),
                    "fortran_order": False,
                    "shape": spec.shape,
                }
                np.lib.format.write_array_header_1_0(target, fields)
                _write(target, name, spec, pieces)


def _write(target: IO[bytes], name: str, spec: Spec, pieces: Iterable[Array]) -> None:
    count = 0
    for piece in pieces:
        if piece.dtype != spec.dtype:
            raise InputError(f"'{name}' is {piece.dtype}, not {spec.dtype} as its first rows")
        target.write(piece.tobytes())
        count += piece.size
    if count != int(np.prod(spec.shape, dtype=np.int64)):
        raise InputError(f"'{name}' has {count:,} values, not those of its shape")
