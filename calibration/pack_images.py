"""Packs a folder of images, all of one size then, into one sample set.

Run from the repository root: `python calibration/pack_images.py FOLDER -o set.npz --size 224`.
It needs Pillow. The set holds `images`, uint8 [n, height, width, channels], and `labels` if the
images lie in folders by class; pixels are prepared for a model when the set is read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onnxprune.errors import InputError, OnnxpruneError, about
from onnxprune.formats.output import Temporary, check_output, write_errors
from onnxprune.report.text import show
from onnxprune.samples.files import reading
from onnxprune.samples.images import IMAGES, LABELS, decode_image, list_images
from onnxprune.samples.packing import Packed, pack
from onnxprune.samples.reading import parse_reading
from onnxprune.samples.table import Spec
from onnxprune.types import Array

DEPTHS = {"RGB": 3, "L": 1}


def packed_images(folder: Path, size: tuple[int, int], mode: str) -> tuple[int, list[Packed]]:
    """Return how many images there are, and the arrays that hold them and their classes."""
    with reading():
        files, labels, _ = list_images(folder)
    if not files:
        raise InputError("there are no images")

    def decoded() -> Iterator[Array]:
        for file in files:
            yield decode_image(folder, file, size, mode)

    shape = (len(files), *size, DEPTHS[mode])
    arrays = [Packed(IMAGES, Spec(np.dtype(np.uint8), shape), decoded())]
    if labels is not None:
        arrays.append(Packed(LABELS, Spec.of(labels), [labels]))
    return len(files), arrays


def main() -> int:
    """Write the set that the command line asks for."""
    parser = argparse.ArgumentParser(description="Pack images into one sample set.")
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="images, or one folder a class"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SET.npz")
    parser.add_argument(
        "--size", required=True, metavar="HxW", help="what they are resized to"
    )
    parser.add_argument("--grey", action="store_true", help="one channel instead of three")
    parser.add_argument("--force", action="store_true", help="replace the output")
    given = parser.parse_args()
    try:
        size = parse_reading(image_size=given.size).image_size
        assert size is not None
        target = check_output(given.output, [], given.force)
        with about(given.folder):
            count, arrays = packed_images(given.folder, size, "L" if given.grey else "RGB")
            with Temporary(target) as temporary, write_errors(target):
                with open(temporary.descriptor, "w+b", closefd=False) as stream:
                    pack(stream, arrays)
                temporary.commit()
    except OnnxpruneError as error:
        hint = f"; {show(error.hint)}" if error.hint else ""
        print(f"error: {show(str(error))}{hint}", file=sys.stderr)
        return error.exit_code
    print(f"{show(str(given.output))}: {count:,} samples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
