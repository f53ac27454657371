"""Pixels become what a model takes: scaled, in its order of channels, in its layout."""

from typing import Any

import numpy as np
import pytest

from onnxprune.errors import InputError, OnnxpruneError, UsageError
from tests.samples.made import Array, opened, port, read, refusal

COLOURS = np.array([[[[0, 51, 255], [102, 153, 204]]]], np.uint8)
"""One image, one pixel high and two wide."""

FIRST, LAST = (None, 3, 1, 2), (None, 1, 2, 3)


def made(
    images: Array, shape: tuple[int | None, ...], dtype: str = "float32", **reading: Any
) -> Array:
    return read(opened({"x": images}, port(shape=shape, dtype=dtype), **reading))


def test_pixels_are_scaled_then_shifted_then_divided() -> None:
    found = made(COLOURS, LAST, mean=(0.2,), std=(2.0,))
    assert np.allclose(found, (COLOURS / 255 - 0.2) / 2)
    assert found.dtype == np.float32
    assert np.array_equal(made(COLOURS, LAST, pixel_range=255), COLOURS.astype(np.float32))


def test_channels_go_where_the_model_wants_them() -> None:
    found = made(COLOURS, FIRST, pixel_range=255)
    assert found.tolist() == [[[[0, 102]], [[51, 153]], [[255, 204]]]]
    stored = COLOURS.transpose(0, 3, 1, 2).copy()
    assert np.array_equal(made(stored, FIRST, pixel_range=255), found)
    assert np.array_equal(made(stored, LAST, pixel_range=255), COLOURS)


def test_the_layout_option_decides_where_the_shape_does_not() -> None:
    free = (None, None, None, None)
    assert made(COLOURS, free, layout="NCHW").shape == (1, 3, 1, 2)
    assert made(COLOURS, free, layout="NHWC").shape == (1, 1, 2, 3)
    assert made(COLOURS, free, mean=(0.0,)).shape == (1, 1, 2, 3)


def test_shapes_that_could_be_either_are_taken_as_the_model_has_them() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(1, 3, 2, 4)
    assert np.array_equal(made(images, (None, 3, 2, 4), pixel_range=255), images)
    grey = np.arange(4, dtype=np.uint8).reshape(1, 1, 4, 1)
    assert np.array_equal(made(grey, (None, 1, 4, 1), pixel_range=255), grey)


def test_mean_and_deviation_are_in_the_order_of_the_model() -> None:
    found = made(
        COLOURS, FIRST, pixel_range=255, channel_order="BGR", mean=(255, 51, 0), std=(1, 1, 2)
    )
    assert found[0, :, 0, 0].tolist() == [0, 0, 0]
    assert found[0, :, 0, 1].tolist() == [-51, 102, 51]


def test_transparency_stays_last() -> None:
    image = np.array([[[[1, 2, 3, 4]]]], np.uint8)
    found = made(image, (None, 1, 1, 4), channel_order="BGR", pixel_range=255)
    assert found.tolist() == [[[[3, 2, 1, 4]]]]


def test_grey_images_need_no_channel() -> None:
    grey = np.array([[[0, 255, 51]]], np.uint8)
    assert np.allclose(made(grey, (None, 1, 1, 3), layout="NCHW"), [[[[0, 1, 0.2]]]])
    assert made(grey, (None, 1, 3, 1), mean=(0.0,)).shape == (1, 1, 3, 1)
    assert np.allclose(made(grey, (None, 1, 3), mean=(0.0,)), [[[0, 1, 0.2]]])


def test_images_that_are_whole_feeds_are_prepared(  # each sample has a batch of its own
) -> None:
    samples = opened({"x": COLOURS[None]}, port(shape=FIRST), pixel_range=255)
    assert samples.whole
    (batch,) = samples.batches(8)
    assert np.array_equal(batch.feeds["x"], COLOURS.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_result_has_the_type_of_the_input(dtype: str) -> None:
    found = made(COLOURS, LAST, dtype, mean=(0.5,))
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, (COLOURS / 255 - 0.5).astype(dtype))


def test_an_input_of_bytes_takes_pixels_as_they_are() -> None:
    assert made(COLOURS, FIRST, "uint8", layout="NCHW")[0, :, 0, 0].tolist() == [0, 51, 255]
    error = refusal({"x": COLOURS}, port(shape=LAST, dtype="uint8"), mean=(1.0,))
    assert (type(error), error.message) == (
        UsageError,
        "--mean and --std make fractions, the model's input 'x' takes uint8",
    )


@pytest.mark.parametrize(
    ("shape", "reading", "kind", "message"),
    [
        (
            LAST,
            {"mean": (1, 2)},
            InputError,
            "--mean has 2 numbers, the images have 3 channels",
        ),
        (
            LAST,
            {"std": (1, 2, 3, 4)},
            InputError,
            "--std has 4 numbers, the images have 3 channels",
        ),
        (
            (None, None, None, 3),
            {"image_size": (8, 9)},
            InputError,
            "'x': images of 1x2, but --image-size 8x9: only image files are resized",
        ),
        (
            (None, 3, 1, 5),
            {"mean": (1,)},
            InputError,
            "'x': samples of shape 3x1x2 do not fit the model's input of 3x1x5",
        ),
        (
            LAST,
            {"std": (1e-300,), "mean": (1,)},
            InputError,
            "'x': pixels become too large for float32",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    shape: tuple[int, ...], reading: dict[str, Any], kind: type[OnnxpruneError], message: str
) -> None:
    error = refusal({"x": COLOURS}, port(shape=shape), **reading)
    assert (type(error), error.message) == (kind, message)


def test_what_is_no_image_is_refused() -> None:
    for shape, spelled in (((2, 5, 6, 7), "5x6x7"), ((2, 5), "5")):
        error = refusal(
            {"x": np.zeros(shape, np.uint8)}, port(shape=(None,) * len(shape)), layout="NCHW"
        )
        assert error.message == (
            "'x': images have height, width and 1, 3 or 4 channels, not the shape " + spelled
        )


def test_options_for_pixels_are_never_silently_without_effect() -> None:
    error = refusal(
        {"x": np.zeros((2, 3, 4, 4), np.float32)},
        port(shape=(None, 3, 4, 4)),
        mean=(1,),
        layout="NCHW",
    )
    assert (type(error), error.message) == (
        UsageError,
        "--mean, --layout given, but no input is fed images",
    )
