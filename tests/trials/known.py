"""How the optional data are read for the optional models that take them."""

from pathlib import Path

import pytest

from onnxprune.samples.reading import Reading
from tests.shared import FOLDER

CIFAR = Reading(
    inputs={"images_u8": "input"}, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
BGR = Reading(
    inputs={"images_u8": "data"},
    pixel_range=255,
    channel_order="BGR",
    mean=(125.307, 122.961, 113.8575),
    std=(51.5865, 50.847, 51.255),
)


def needs_data(name: str) -> Path:
    """Return a set's path, or skip the test where the folder is absent."""
    path = FOLDER / "data" / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"the optional data {name} are not here")
    return path
