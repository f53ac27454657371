"""The dense model's outputs, computed once: kept in memory, or in a folder for the next time."""

import hashlib
import io
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.errors import InputError, LimitError, OutputError
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_file import file_hash
from onnxprune.formats.output import Temporary, check_output, write_errors
from onnxprune.samples.batch import Batch
from onnxprune.trials.examination import Answers, Examination, Outputs, Progress
from onnxprune.types import Array
from onnxprune.version import __version__

SHARE = 4
"""Outputs in memory may take the machine's memory divided by this."""

MAGIC = b"onnxprune outputs 2\n"


def remember(examination: Examination, key: str, progress: Progress | None) -> Answers:
    """Run the dense model over all samples and keep its outputs in memory."""
    kept: dict[int, Outputs] = {}
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE
    taken = 0
    for batch in examination.batches(progress, "running the dense model"):
        kept[batch.start] = examination.answer(key, batch)
        taken += sum(array.nbytes for array in kept[batch.start].values())
        if taken > limit:
            raise LimitError(
                f"the dense model's outputs take more than {limit / 2**30:.1f} GiB of memory",
                "--cache DIR keeps them on disk, --samples N takes fewer",
            )
    return lambda batch: kept[batch.start]


class Cache:
    """A folder with the outputs of dense models, by what they depend on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise OutputError(f"cannot make the folder {folder}: {reason}") from error

    def answers(
        self,
        examination: Examination,
        key: str,
        model: Model,
        progress: Progress | None,
    ) -> "CachedAnswers":
        """Return the dense model's outputs from the folder, after putting them there if new."""
        path = self.folder / f"{_sum(examination, model)}.outputs"
        if path.exists():
            found = CachedAnswers.read(path)
            if found is not None:
                self._count(examination, found)
                return found
        self._write(path, examination, key, progress)
        written = CachedAnswers.read(path)
        if written is None:
            raise OutputError(f"{path} cannot be read back")
        return written

    def _count(self, examination: Examination, found: "CachedAnswers") -> None:
        examination.seen, examination.labelled = found.seen, found.labelled

    def _write(
        self, path: Path, examination: Examination, key: str, progress: Progress | None
    ) -> None:
        places: list[list[Any]] = []
        target = check_output(path, [], force=True)
        with Temporary(target) as temporary, write_errors(target):
            with open(temporary.descriptor, "wb", closefd=False) as stream:
                stream.write(MAGIC)
                for batch in examination.batches(progress, "running the dense model"):
                    outputs = examination.answer(key, batch)
                    data = _pack(outputs)
                    place = [stream.tell(), len(data), zlib.crc32(data)]
                    places.append([batch.start, place, list(outputs)])
                    stream.write(data)
                start = stream.tell()
                index = {
                    "seen": examination.seen,
                    "labelled": examination.labelled,
                    "batches": places,
                }
                stream.write(json.dumps(index).encode())
                stream.write(start.to_bytes(8, "little"))
            temporary.commit()


class CachedAnswers:
    """Outputs in a file, read batch by batch."""

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        self.path = path
        self._places = {start: (place, names) for start, place, names in index["batches"]}
        self.seen: int = index["seen"]
        self.labelled: bool = index["labelled"]

    @classmethod
    def read(cls, path: Path) -> "CachedAnswers | None":
        """Open a file of outputs; None if it is not a whole one."""
        try:
            with path.open("rb") as stream:
                if stream.read(len(MAGIC)) != MAGIC:
                    return None
                end = stream.seek(-8, os.SEEK_END)
                stream.seek(int.from_bytes(stream.read(8), "little"))
                index = json.loads(stream.read(end - stream.tell()))
            return cls(path, index)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """Return the outputs for a batch."""
        try:
            (at, length, checksum), names = self._places[batch.start]
            with self.path.open("rb") as file:
                file.seek(at)
                data = file.read(length)
            if zlib.crc32(data) != checksum:
                raise ValueError("another checksum")  # noqa: TRY301 - as any other damage
            stream = io.BytesIO(data)
            return {
                name: np.lib.format.read_array(stream, allow_pickle=False) for name in names
            }
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(
                f"{self.path}: the kept outputs are damaged",
                "without the file they are made anew",
            ) from error


def _pack(outputs: Outputs) -> bytes:
    stream = io.BytesIO()
    for array in outputs.values():
        np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def _sum(examination: Examination, model: Model) -> str:
    """Hash everything that the outputs depend on."""
    place = examination.runner.place
    assert place is not None
    parts: Sequence[object] = (
        [file_hash(file) for file in model.all_files()],
        examination.samples.digest(),
        examination.batch,
        place.provider,
        place.threads,
        place.runtime,
        __version__,
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
