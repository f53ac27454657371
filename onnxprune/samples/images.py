"""Folders of image files as samples: their classes, and decoding them."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.errors import (
    InputError,
    LimitError,
    OnnxpruneError,
    UnsupportedError,
    UsageError,
)
from onnxprune.outcomes import Port
from onnxprune.samples.files import files_in, folders_in, hash_files
from onnxprune.samples.pixels import LAST, channels_of, layout_of
from onnxprune.samples.reading import PIXELS, Reading
from onnxprune.samples.table import Rows, Spec, Table
from onnxprune.types import Array

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
IMAGES = "images"
LABELS = "labels"


class Images(Table):
    """Images of one size: with a label each, or all in one folder without labels."""

    images = IMAGES

    def __init__(self, folder: Path, reading: Reading, port: Port) -> None:
        self.source = str(folder)
        self.constants = {}
        self._folder = folder
        self._files, self._labels, self.notes = list_images(folder)
        if port.shape is not None and len(port.shape) != 4:
            raise InputError(
                f"the model's input '{port.name}' of {len(port.shape)} dimensions takes no images"
            )
        if layout_of(port, reading) is None:
            raise UsageError(
                f"the shape of the model's input '{port.name}' does not tell where its"
                " channels are",
                "--layout NCHW or NHWC says it",
            )
        self._size = reading.image_size or _wanted_size(port, reading)
        self._mode = "L" if channels_of(port, reading) == 1 else "RGB"
        if self._size[0] * self._size[1] > PIXELS:
            raise LimitError(
                f"the model's input '{port.name}' takes more than {PIXELS:,} pixels"
            )
        depth = 1 if self._mode == "L" else 3
        columns = {
            IMAGES: Spec(np.dtype(np.uint8), (len(self._files), *self._size, depth)),
        }
        if self._labels is not None:
            columns[LABELS] = Spec.of(self._labels)
        self.columns = columns
        _pillow()

    def pieces(self, size: int) -> Iterator[Rows]:
        """Go through all rows in order, at most so many at a time."""
        for start in range(0, len(self._files), size):
            files = self._files[start : start + size]
            rows = {}
            if IMAGES in self.columns:
                rows[IMAGES] = np.stack(
                    [
                        decode_image(self._folder, file, self._size, self._mode)
                        for file in files
                    ]
                )
            if LABELS in self.columns and self._labels is not None:
                rows[LABELS] = self._labels[start : start + size]
            yield rows

    def digest(self) -> str:
        """Return a SHA-256 sum of all that the rows come from."""
        labels = [""] * len(self._files) if self._labels is None else map(str, self._labels)
        return hash_files(list(zip(labels, self._files, strict=True)))


def holds_images(folder: Path) -> bool:
    """Tell whether a folder holds images, or folders of images."""
    return bool(files_in(folder, SUFFIXES)) or any(
        files_in(each, SUFFIXES) for each in folders_in(folder)
    )


def list_images(folder: Path) -> tuple[list[Path], Array | None, tuple[str, ...]]:
    """Return images, their labels if they lie in folders by class, and what to know of them.

    A class is the number of its folder in the order of names; all names that are integers are
    ordered as such.
    """
    flat = files_in(folder, SUFFIXES)
    folders = folders_in(folder)
    if not all(each.name.isdecimal() for each in folders):
        folders.sort(key=lambda each: each.name)
    classes = [files_in(each, SUFFIXES) for each in folders]
    if not any(classes):
        return flat, None, ()
    if flat:
        raise InputError("images beside folders of images", "use one or the other")
    notes = [
        f"class folder '{each.name}' holds no images"
        for each, files in zip(folders, classes, strict=True)
        if not files
    ]
    if len(classes) == 1:
        notes.append(f"there is one class folder, '{folders[0].name}': all labels are 0")
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in classes])
    files = [file for each in classes for file in each]
    return files, labels.astype(np.int64), tuple(notes)


def decode_image(folder: Path, path: Path, size: tuple[int, int], mode: str) -> Array:
    """Return the pixels of an image file, resized: height, width and channels.

    Args:
        folder: what errors name the file from.
        path: the file.
        size: height and width of the result.
        mode: `RGB`, or `L` for grey.
    """
    pillow = _pillow()
    height, width = size
    name = path.relative_to(folder)
    try:
        with warnings.catch_warnings():
            # Of what may be wrong with a file, only what keeps it from being read counts.
            warnings.simplefilter("ignore")
            # Other formats are not asked for, and some start programs to be read.
            with pillow.open(path, formats=FORMATS) as image:
                plain = _in_mode(pillow, image, mode, name)
                sized = plain.resize((width, height), pillow.Resampling.BILINEAR)
                return np.asarray(sized, np.uint8).reshape(height, width, -1)
    except OnnxpruneError:
        raise
    except pillow.DecompressionBombError as error:
        raise LimitError(f"{name} has too many pixels") from error
    except Exception as error:  # a broken file raises whatever the decoder stumbles over
        raise InputError(f"{name} is no image that can be read") from error


def _in_mode(pillow: Any, image: Any, mode: str, name: Path) -> Any:
    """Convert an image to eight bits per channel, without transparency."""
    if image.mode.startswith("I;16"):
        # Pillow would cut off what is above 255.
        values = np.asarray(image).astype(np.float64) / 257
        return pillow.fromarray(np.rint(values).astype(np.uint8)).convert(mode)
    if image.mode in ("I", "F"):
        raise UnsupportedError(f"{name} has pixels of 32 bits", "8 and 16 bits are read")
    return image.convert(mode)


def _wanted_size(port: Port, reading: Reading) -> tuple[int, int]:
    """Return the height and width that an input has, if it fixes them."""
    layout = layout_of(port, reading)
    if port.shape is not None and len(port.shape) == 4 and layout is not None:
        height, width = port.shape[1:3] if layout == LAST else port.shape[2:4]
        if height is not None and width is not None:
            return height, width
    raise UsageError(
        f"the model's input '{port.name}' does not fix the size of images",
        "--image-size gives it, such as 224 or 240x320",
    )


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise UnsupportedError(
            "image files need Pillow", "pip install 'onnxprune[images]'"
        ) from error
    return Image
