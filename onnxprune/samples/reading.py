"""How a set of samples is read: the options, and their spelling on the command line."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar

import numpy as np

from onnxprune.errors import UsageError

LAYOUTS = ("NCHW", "NHWC")
ORDERS = ("RGB", "BGR")
RANGES = (1, 255)
PIXELS = 1 << 26
"""The largest image that is made."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a set of samples.

    Args:
        inputs: for an array's name, the input it is for.
        labels: the name of the array of labels; None takes `labels` if there is one.
        image_size: height and width that image files are resized to.
        mean: taken from pixels, one number or one per channel in the model's order.
        std: what pixels are divided by after that.
        layout: what the model takes, `NCHW` or `NHWC`; None finds it from the input's shape.
        channel_order: what the model takes, `RGB` or `BGR`; files and arrays are RGB.
        pixel_range: pixels are fed as 0 to 1, or as 0 to 255, before mean and std.
        shapes: for an input, the shape of one sample of random data.
        cast: whether arrays of another type are converted.
        limit: take only the first so many samples.
        seed: where random samples start.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    labels: str | None = None
    image_size: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str | None = None
    channel_order: str = "RGB"
    pixel_range: int = 1
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    cast: bool = False
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        # Callers from Python may give lists and single numbers.
        for name, value in {
            "inputs": _mapping(self.inputs, "--input"),
            "image_size": _checked_size(self.image_size),
            "mean": _checked_numbers(self.mean, "--mean"),
            "std": _checked_numbers(self.std, "--std"),
            "shapes": _checked_shapes(_mapping(self.shapes, "--shape")),
        }.items():
            object.__setattr__(self, name, value)
        if self.layout not in (None, *LAYOUTS):
            raise UsageError(f"--layout is NCHW or NHWC, not '{self.layout}'")
        if self.channel_order not in ORDERS:
            raise UsageError(f"--channel-order is RGB or BGR, not '{self.channel_order}'")
        if self.pixel_range not in RANGES:
            raise UsageError(f"--pixel-range is 1 or 255, not '{self.pixel_range}'")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--samples is at least 1, got {self.limit}")
        if self.seed < 0:
            raise UsageError(f"--seed is at least 0, got {self.seed}")
        if 0 in self.std:
            raise UsageError("--std must not be 0: pixels are divided by it")

    @property
    def pixel_options(self) -> tuple[str, ...]:
        """The options given that ask for pixels to be prepared."""
        given = {
            "--image-size": self.image_size is not None,
            "--mean": bool(self.mean),
            "--std": bool(self.std),
            "--layout": self.layout is not None,
            "--channel-order": self.channel_order != "RGB",
            "--pixel-range": self.pixel_range != 1,
        }
        return tuple(option for option, is_given in given.items() if is_given)


def parse_reading(  # noqa: PLR0913 - one per option
    inputs: Sequence[str] | None = None,
    labels: str | None = None,
    image_size: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    layout: str | None = None,
    channel_order: str | None = None,
    pixel_range: str | None = None,
    shapes: Sequence[str] | None = None,
    cast: bool = False,
    limit: int | None = None,
    seed: int = 0,
) -> Reading:
    """Build a reading from what the command line has; None stands for the default."""
    return Reading(
        inputs=_pairs(
            [_pair(text, "--input ARRAY=INPUT") for text in inputs or ()], "--input"
        ),
        labels=labels,
        image_size=_size(image_size) if image_size is not None else None,
        mean=_numbers(mean, "--mean") if mean is not None else (),
        std=_numbers(std, "--std") if std is not None else (),
        layout=layout.upper() if layout is not None else None,
        channel_order=(channel_order or "RGB").upper(),
        pixel_range=_range(pixel_range) if pixel_range is not None else 1,
        shapes=_pairs([_shape(text) for text in shapes or ()], "--shape"),
        cast=cast,
        limit=limit,
        seed=seed,
    )


def _pair(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"{form}, not '{text}'")
    return name, value


def _pairs(pairs: Sequence[tuple[str, Value]], option: str) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in pairs:
        if name in found:
            raise UsageError(f"{option} names '{name}' twice")
        found[name] = value
    return found


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, spelled = _pair(text, "--shape INPUT=1x3x224x224")
    if not re.fullmatch(r"\d{1,9}([x,]\d{1,9})*", spelled):
        raise UsageError(f"--shape {name} is written like 3x224x224, not '{spelled}'")
    return name, tuple(int(size) for size in re.split("[x,]", spelled))


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})(?:[x,](\d{1,6}))?", text.strip())
    if found is None:
        raise UsageError(f"--image-size is written like 224 or 224x320, not '{text}'")
    return int(found[1]), int(found[2] or found[1])


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        message = f"{option} takes numbers such as 0.485,0.456,0.406, not '{text}'"
        raise UsageError(message) from error


def _range(text: str) -> int:
    if text not in ("1", "255"):
        raise UsageError(f"--pixel-range is 1 or 255, not '{text}'")
    return int(text)


def _mapping(value: object, option: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{option} takes pairs of names, not {type(value).__name__}")
    return {str(name): each for name, each in value.items()}


def _checked_numbers(value: object, option: str) -> tuple[float, ...]:
    try:
        numbers = np.array(value, np.float64).reshape(-1).tolist()
    except (ValueError, TypeError) as error:
        raise UsageError(f"{option} takes numbers, not '{value}'") from error
    if not all(math.isfinite(number) for number in numbers):
        raise UsageError(f"{option} takes finite numbers")
    return tuple(numbers)


def _checked_size(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    sizes = (value, value) if isinstance(value, int) else value
    if not _are_sizes(sizes) or len(sizes) != 2:
        raise UsageError(f"--image-size is a height and a width, not '{value}'")
    height, width = sizes
    if height * width > PIXELS:
        raise UsageError(f"--image-size is at most {PIXELS:,} pixels, not {height}x{width}")
    return height, width


def _checked_shapes(shapes: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    for name, sizes in shapes.items():
        if not _are_sizes(sizes):
            raise UsageError(f"--shape {name} takes sizes of at least 1, not '{sizes}'")
    return {name: tuple(sizes) for name, sizes in shapes.items()}


def _are_sizes(value: object) -> TypeGuard[Sequence[int]]:
    return isinstance(value, list | tuple) and all(
        isinstance(size, int) and size > 0 for size in value
    )
