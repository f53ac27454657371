"""Keeps the masks of finished steps, so that an interrupted pruning goes on where it stopped."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from onnxprune.errors import InputError, OutputError, about
from onnxprune.formats.output import check_output, write_whole
from onnxprune.gradual import Progressed

NAME = "onnxprune.checkpoint"
INDEX = "index"


class Checkpoint:
    """A file in a folder, with the last finished step.

    Args:
        folder: where it is; made if it is not there.
        fingerprint: what the masks depend on.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise OutputError(f"cannot make the folder {folder}: {reason}") from error
        self.path = folder / NAME
        self.fingerprint = fingerprint
        self._target = check_output(self.path, [], force=True)

    def read(self) -> Progressed | None:
        """Return where an earlier run of the same pruning stopped."""
        if not self.path.exists():
            return None
        with about(self.path):
            return self._read()

    def keep(self, done: Progressed) -> None:
        """Write a finished step over the one before."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            sizes = {path: int(mask.size) for path, mask in done.masks.items()}
            index = {"fingerprint": self.fingerprint, "step": done.step, "sizes": sizes}
            archive.writestr(INDEX, json.dumps(index))
            for number, mask in enumerate(done.masks.values()):
                archive.writestr(f"m{number}", np.packbits(mask).tobytes())
        write_whole(self._target, content.getvalue())

    def _read(self) -> Progressed:
        try:
            with zipfile.ZipFile(self.path) as archive:
                index = json.loads(archive.read(INDEX))
                if index["fingerprint"] != self.fingerprint:
                    raise InputError(
                        "the steps of another pruning: model, data or options differ",
                        "another folder, or none, starts anew",
                    )
                masks = {}
                for number, (path, size) in enumerate(index["sizes"].items()):
                    bits = np.frombuffer(archive.read(f"m{number}"), np.uint8)
                    masks[path] = np.unpackbits(bits, count=int(size)).astype(bool)
                return Progressed(int(index["step"]), masks)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InputError("no whole checkpoint of onnxprune") from error
