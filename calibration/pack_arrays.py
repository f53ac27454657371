"""Packs arrays in .npy files into one sample set.

Run from the repository root:
`python calibration/pack_arrays.py -o set.npz image=images.npy --labels labels.npy`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from onnxprune.errors import InputError, OnnxpruneError, UsageError, about
from onnxprune.formats.output import Temporary, check_output, write_errors
from onnxprune.report.text import show
from onnxprune.samples.archive import read_npy
from onnxprune.samples.packing import Packed, pack
from onnxprune.samples.table import Spec, equal_size
from onnxprune.types import Array

LABELS = "labels"
BLOCK = 1 << 26


def read_arrays(pairs: Sequence[str], labels: Path | None) -> dict[str, Array]:
    """Map the arrays that a set is made of, by the name each will have."""
    named = {}
    for pair in [*pairs, *([f"{LABELS}={labels}"] if labels is not None else [])]:
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise UsageError(f"arrays are given as NAME=FILE.npy, not '{pair}'")
        if name in named:
            raise UsageError(f"two arrays named '{name}'")
        named[name] = Path(file)
    found = {}
    for name, path in named.items():
        with about(path):
            found[name] = read_npy(path)
    columns = {name: Spec.of(array) for name, array in found.items() if array.ndim}
    if not columns or equal_size(columns) == 0:
        raise InputError("there is no array with samples")
    return found


def blocks(array: Array) -> Iterator[Array]:
    """Go through an array, a few rows at a time."""
    if array.ndim == 0:
        yield array
        return
    count = max(1, BLOCK * len(array) // max(array.nbytes, 1))
    for start in range(0, len(array), count):
        yield array[start : start + count]


def write_set(output: Path, arrays: dict[str, Array], force: bool) -> None:
    """Write the arrays, or nothing."""
    target = check_output(output, [], force)
    packed = (Packed(name, Spec.of(array), blocks(array)) for name, array in arrays.items())
    with Temporary(target) as temporary, write_errors(target):
        with open(temporary.descriptor, "w+b", closefd=False) as stream:
            pack(stream, packed)
        temporary.commit()


def main() -> int:
    """Write the set that the command line asks for."""
    parser = argparse.ArgumentParser(description="Pack .npy files into one sample set.")
    parser.add_argument("arrays", nargs="+", metavar="NAME=FILE.npy", help="an input's array")
    parser.add_argument("--labels", type=Path, metavar="FILE.npy", help="the right classes")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SET.npz")
    parser.add_argument("--force", action="store_true", help="replace the output")
    given = parser.parse_args()
    try:
        arrays = read_arrays(given.arrays, given.labels)
        write_set(given.output, arrays, given.force)
    except OnnxpruneError as error:
        hint = f"; {show(error.hint)}" if error.hint else ""
        print(f"error: {show(str(error))}{hint}", file=sys.stderr)
        return error.exit_code
    size = next(len(array) for array in arrays.values() if np.ndim(array))
    print(f"{show(str(given.output))}: {size:,} samples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
