"""The bare loop: read fp32 values in chunks, zero those below a constant, write them."""

import argparse
import os
from pathlib import Path

import numpy as np

CHUNK = 4 << 20


def copy_zeroed(source: Path, target: Path, constant: float, fsync: bool) -> None:
    """Copy a file of fp32 values with those of magnitude below `constant` set to zero."""
    values = np.empty(CHUNK // 4, dtype=np.float32)
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        while got := reader.readinto(values.data):
            chunk = values[: got // 4]
            chunk[np.abs(chunk) < constant] = 0
            writer.write(chunk.data)
        if fsync:
            os.fsync(writer.fileno())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("constant", type=float)
    parser.add_argument("--fsync", action="store_true")
    options = parser.parse_args()
    copy_zeroed(options.source, options.target, options.constant, options.fsync)
