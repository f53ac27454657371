"""Finds the external data of all tensors: files, offsets, lengths, sums."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnxprune.bounds import refuse_amplified
from onnxprune.errors import InputError, OnnxpruneError
from onnxprune.formats.files import SourceFile, open_external, open_regular
from onnxprune.formats.onnx_tensor import TensorRecord
from onnxprune.formats.onnx_types import check_record, element_count, needed_bytes, type_name
from onnxprune.formats.wire import read_exactly

Address = tuple[int, ...]
AMPLIFICATION = 8
"""Tensors may claim so many times the bytes that their files have."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where external data may come from: other files for some locations, many-named files."""

    files: Mapping[str, Path]
    allow_hardlinks: bool = False


def resolve(
    model: SourceFile,
    tensors: Mapping[Address, TensorRecord],
    files: dict[str, SourceFile],
    places: Places,
) -> dict[Address, int]:
    """Check all tensors' data; open every external file once, and return offsets in them.

    Args:
        model: the model file.
        tensors: all its tensors.
        files: receives the files, by location.
        places: where else to look.
    """
    declared = 0
    offsets: dict[Address, int] = {}
    sums: dict[int, str] = {}
    for record in tensors.values():
        try:
            check_record(record)
            if record.external is None:
                continue
            location = record.external.entries.get("location", "")
            if location not in files:
                files[location] = _open(model, location, files, places)
            _check_sum(record, files[location], sums)
            offsets[record.address] = _offset(record, files[location])
            declared += needed_bytes(type_name(record), element_count(record))
        except OnnxpruneError as error:
            if record.name and f"'{record.name}'" not in error.message:
                error.message = f"'{record.name}': {error.message}"
            raise
    present = sum({id(file): file.size for file in files.values()}.values())
    refuse_amplified("the tensors make", declared, present, AMPLIFICATION)
    return offsets


def _offset(record: TensorRecord, file: SourceFile) -> int:
    assert record.external is not None
    entries = record.external.entries
    needs = needed_bytes(type_name(record), element_count(record))
    offset = _number(entries.get("offset", "0"), "offset")
    if "length" in entries:
        length = _number(entries["length"], "length")
        if length != needs:
            raise InputError(f"length {length:,}, its dimensions need {needs:,}")
    if offset + needs > file.size:
        raise InputError(
            f"needs bytes {offset:,} to {offset + needs:,}, the data file has {file.size:,}"
        )
    return offset


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 63:
        raise InputError(f"bad {what} '{text}' of external data")
    return int(text)


def _open(
    model: SourceFile, location: str, files: Mapping[str, SourceFile], places: Places
) -> SourceFile:
    """Open a data file, or return the open one that another location names, too."""
    if location in places.files:
        found = open_regular(places.files[location])
    else:
        found = open_external(model, location, places.allow_hardlinks)
    for known in files.values():
        if known.state[:2] == found.state[:2]:
            found.close()
            return known
    return found


def _check_sum(record: TensorRecord, file: SourceFile, sums: dict[int, str]) -> None:
    assert record.external is not None
    asked = record.external.entries.get("checksum")
    if not asked:
        return
    if id(file) not in sums:
        sums[id(file)] = sha1(file)
    if sums[id(file)] != asked.lower():
        raise InputError(f"the SHA-1 sum of '{file.path.name}' is not the one in the model")


def sha1(file: SourceFile) -> str:
    """Return the SHA-1 sum of a file (the checksum of ONNX's external data)."""
    digest = hashlib.sha1(usedforsecurity=False)
    for start in range(0, file.size, 1 << 20):
        digest.update(read_exactly(file.descriptor, start, min(1 << 20, file.size - start)))
    return digest.hexdigest()
