"""Where a written model says its external data lie: names, checksums, and the edits they need."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from onnxprune.formats.files import SourceFile
from onnxprune.formats.onnx_external import sha1
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_tensor import External
from onnxprune.formats.output import Temporary
from onnxprune.formats.splice import Splice


def data_name(output: Path, sums: Mapping[int, int]) -> str:
    """Name a data file after the model and the sums of its own blocks."""
    digest = hashlib.sha256(repr(sorted(sums.items())).encode())
    # What a location must not hold (see check_location), and what is not UTF-8.
    stem = re.sub(r"[\x00-\x1f\x7f\\:\ud800-\udfff]", "_", output.stem)
    # A name has at most 255 bytes.
    short = stem.encode()[:240].decode(errors="ignore")
    return f"{short}-{digest.hexdigest()[:8]}.data"


def checksum(model: OnnxModel, source: SourceFile, written: Temporary) -> str:
    """Return the checksum of a data file that was written, where the model gives one."""
    if not any("checksum" in external.entries for external in _externals(model, source)):
        return ""
    size = os.fstat(written.descriptor).st_size
    return sha1(SourceFile(written.path, written.descriptor, size, source.state))


def relocations(
    model: OnnxModel, names: Mapping[SourceFile, str], checksums: Mapping[SourceFile, str]
) -> list[Splice]:
    """Return the edits that make a model name its new data files."""
    splices = []
    for source, name in names.items():
        for external in _externals(model, source):
            for key, text in (("location", name), ("checksum", checksums[source])):
                frame = external.places.get(key)
                said = external.entries.get(key, "")
                same = text == (said.lower() if key == "checksum" else said)
                if frame is not None and text and not same:
                    splices.append(Splice(frame.start, frame.end, text.encode(), frame))
    return splices


def _externals(model: OnnxModel, source: SourceFile) -> Iterator[External]:
    for record in model.scan.tensors.values():
        external = record.external
        if external is not None and model.files[external.entries["location"]] is source:
            yield external
