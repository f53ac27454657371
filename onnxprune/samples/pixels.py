"""Pixels as models take them: scale, mean, deviation, channel order and layout."""

from collections.abc import Callable
from math import prod

import numpy as np

from onnxprune.errors import InputError, UsageError
from onnxprune.outcomes import Port
from onnxprune.samples.reading import Reading
from onnxprune.types import Array

CHANNELS = (1, 3, 4)
FIRST, LAST = "NCHW", "NHWC"

Shape = tuple[int, ...]
Convert = Callable[[Array], Array]


def pixels_for(sample: Shape, port: Port, reading: Reading) -> tuple[Convert, Shape]:
    """Return what makes pixels of a stored sample, and the shape it gives them."""
    flat = len(sample) == 2
    stored, layout = _arrangement((*sample, 1) if flat else sample, port, reading)
    height, width, depth = size = _size((*sample, 1) if flat else sample, stored)
    if reading.image_size not in (None, (height, width)):
        wanted = "x".join(map(str, reading.image_size or ()))
        raise InputError(
            f"'{port.name}': images of {height}x{width}, but --image-size {wanted}: only image"
            " files are resized"
        )
    scale = _scaling(port, reading, depth)
    # A grey image may also be for an input that has no channels.
    without = flat and port.shape is not None and len(port.shape) == 3
    made = (height, width) if without else _arranged(size, layout)

    def convert(rows: Array) -> Array:
        if prod(rows.shape[1:]) != prod(sample):
            found = "x".join(map(str, rows.shape[1:]))
            raise InputError(f"'{port.name}': an image of {found} after others")
        pixels = rows.reshape(len(rows), *_arranged(size, stored))
        if stored == FIRST:
            pixels = pixels.transpose(0, 2, 3, 1)
        if reading.channel_order == "BGR" and depth > 1:
            pixels = pixels[..., [2, 1, 0, 3][:depth]]
        values = scale(pixels)
        if layout == FIRST:
            values = values.transpose(0, 3, 1, 2)
        return values.reshape(len(rows), *made)

    return convert, made


def layout_of(port: Port, reading: Reading) -> str | None:
    """Tell where an input wants the channels: as the user says, else by its shape."""
    if reading.layout is not None:
        return reading.layout
    if port.shape is None or len(port.shape) != 4:
        return None
    if port.shape[1] in CHANNELS and port.shape[3] not in CHANNELS:
        return FIRST
    if port.shape[3] in CHANNELS and port.shape[1] not in CHANNELS:
        return LAST
    return None


def channels_of(port: Port, reading: Reading) -> int | None:
    """Return how many channels an input takes, if it fixes that."""
    layout = layout_of(port, reading)
    if port.shape is None or len(port.shape) != 4 or layout is None:
        return None
    return port.shape[3 if layout == LAST else 1]


def _arrangement(sample: Shape, port: Port, reading: Reading) -> tuple[str, str]:
    """Return where the channels are in the stored sample, and where the input wants them."""
    places = []
    if len(sample) == 3:
        places = [(LAST, sample[2]), (FIRST, sample[0])]
    found = [place for place, channels in places if channels in CHANNELS]
    if not found:
        raise InputError(
            f"'{port.name}': images have height, width and 1, 3 or 4 channels, not the shape"
            f" {'x'.join(map(str, sample))}"
        )
    layout = layout_of(port, reading)
    if layout is None:
        # As stored if that fits, else turned.
        turned = [(stored, FIRST if stored == LAST else LAST) for stored in found]
        pairs = [*((stored, stored) for stored in found), *turned]
    else:
        pairs = [(stored, layout) for stored in found]
    fitting = (
        (stored, wanted)
        for stored, wanted in pairs
        if _fits(_arranged(_size(sample, stored), wanted), port)
    )
    return next(fitting, pairs[0])


def _size(sample: Shape, stored: str) -> tuple[int, int, int]:
    """Return height, width and channels."""
    if stored == LAST:
        return sample[0], sample[1], sample[2]
    return sample[1], sample[2], sample[0]


def _arranged(size: tuple[int, int, int], layout: str) -> Shape:
    height, width, depth = size
    return (depth, height, width) if layout == FIRST else (height, width, depth)


def _fits(shape: Shape, port: Port) -> bool:
    rest = (None,) * len(shape) if port.shape is None else port.shape[1:]
    return len(rest) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(rest, shape, strict=True)
    )


def _scaling(port: Port, reading: Reading, channels: int) -> Convert:
    """Return what makes the input's values of stored ones, channels last."""
    wanted = np.dtype(port.dtype)
    if wanted == np.uint8:
        if reading.mean or reading.std:
            raise UsageError(
                f"--mean and --std make fractions, the model's input '{port.name}' takes uint8"
            )
        return lambda pixels: pixels
    mean = _per_channel(reading.mean, channels, "--mean", 0.0)
    std = _per_channel(reading.std, channels, "--std", 1.0)
    divisor = 255.0 if reading.pixel_range == 1 else 1.0

    def scale(pixels: Array) -> Array:
        with np.errstate(over="ignore"):
            values = ((pixels.astype(np.float64) / divisor - mean) / std).astype(wanted)
        if not np.isfinite(values).all():
            raise InputError(f"'{port.name}': pixels become too large for {wanted}")
        return values

    return scale


def _per_channel(
    numbers: tuple[float, ...], channels: int, option: str, default: float
) -> Array:
    if len(numbers) not in (0, 1, channels):
        plural = "s" if channels > 1 else ""
        raise InputError(
            f"{option} has {len(numbers)} numbers, the images have {channels} channel{plural}"
        )
    return np.array(numbers or (default,), np.float64)
