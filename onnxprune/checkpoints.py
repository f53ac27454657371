"""Keeps the masks of finished steps, so that an interrupted pruning goes on where it stopped."""

import hashlib
import json
from pathlib import Path

import numpy as np

from onnxprune.errors import InputError, OutputError, about
from onnxprune.formats.output import check_output, write_whole
from onnxprune.gradual import Progressed

NAME = "onnxprune.checkpoint"
SUM = 32
"""Bytes of the sum of everything behind it, with which the file begins."""


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
        sizes = [[path, mask.size] for path, mask in done.masks.items()]
        index = {"fingerprint": self.fingerprint, "step": done.step, "sizes": sizes}
        bits = b"".join(np.packbits(mask).tobytes() for mask in done.masks.values())
        content = json.dumps(index).encode() + b"\n" + bits
        write_whole(self._target, hashlib.sha256(content).digest() + content)

    def _read(self) -> Progressed:
        try:
            whole = self.path.read_bytes()
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise InputError(f"cannot read the finished steps: {reason}") from error
        content = whole[SUM:]
        if hashlib.sha256(content).digest() != whole[:SUM]:
            # With its sum right, the rest is as it was written.
            raise InputError(
                "no whole checkpoint of onnxprune", "another folder, or none, starts anew"
            )
        head, _, bits = content.partition(b"\n")
        index = json.loads(head)
        if index["fingerprint"] != self.fingerprint:
            raise InputError(
                "the steps of another pruning: model, data or options differ",
                "another folder, or none, starts anew",
            )
        masks, start = {}, 0
        for path, size in index["sizes"]:
            stop = start + (size + 7) // 8
            packed = np.frombuffer(bits[start:stop], np.uint8)
            masks[path] = np.unpackbits(packed, count=size).astype(bool)
            start = stop
        return Progressed(index["step"], masks)
