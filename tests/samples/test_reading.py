"""Options become fields, or one line that says what they should look like."""

from typing import Any

import pytest

from onnxprune.errors import UsageError
from onnxprune.samples.reading import Reading, parse_reading


def refusal(**options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        parse_reading(**options)
    return caught.value.message


def test_nothing_given_is_the_default() -> None:
    assert parse_reading() == Reading()


def test_every_option_becomes_a_field() -> None:
    found = parse_reading(
        inputs=["images=x"],
        labels="y",
        image_size="24x32",
        mean="0.5,1,2",
        std="2",
        layout="nhwc",
        channel_order="bgr",
        pixel_range="255",
        shapes=["x=3x4", "z=5"],
        cast=True,
        limit=7,
        seed=3,
    )
    assert found == Reading(
        inputs={"images": "x"},
        labels="y",
        image_size=(24, 32),
        mean=(0.5, 1.0, 2.0),
        std=(2.0,),
        layout="NHWC",
        channel_order="BGR",
        pixel_range=255,
        shapes={"x": (3, 4), "z": (5,)},
        cast=True,
        limit=7,
        seed=3,
    )


def test_one_number_is_a_square() -> None:
    assert parse_reading(image_size="224").image_size == (224, 224)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ["images"]}, "--input ARRAY=INPUT, not 'images'"),
        ({"inputs": ["a=x", "a=y"]}, "--input names 'a' twice"),
        ({"image_size": "big"}, "--image-size is written like 224 or 224x320, not 'big'"),
        ({"image_size": "0x3"}, "--image-size is a height and a width, not '(0, 3)'"),
        ({"image_size": "00"}, "--image-size is a height and a width, not '(0, 0)'"),
        (
            {"image_size": "99999x99999"},
            "--image-size is at most 67,108,864 pixels, not 99999x99999",
        ),
        (
            {"mean": "0.4,"},
            "--mean takes numbers such as 0.485,0.456,0.406, not '0.4,'",
        ),
        ({"mean": "nan"}, "--mean takes finite numbers"),
        ({"std": "1,0,1"}, "--std must not be 0: pixels are divided by it"),
        ({"std": "inf"}, "--std takes finite numbers"),
        ({"layout": "CHWN"}, "--layout is NCHW or NHWC, not 'CHWN'"),
        ({"channel_order": "gbr"}, "--channel-order is RGB or BGR, not 'GBR'"),
        ({"pixel_range": "256"}, "--pixel-range is 1 or 255, not '256'"),
        ({"shapes": ["x=3x"]}, "--shape x is written like 3x224x224, not '3x'"),
        ({"shapes": ["x=3x0"]}, "--shape x takes sizes of at least 1, not '(3, 0)'"),
        ({"shapes": ["x=3", "x=4"]}, "--shape names 'x' twice"),
        ({"limit": 0}, "--samples is at least 1, got 0"),
        ({"seed": -1}, "--seed is at least 0, got -1"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    assert refusal(**options) == message


def test_python_may_give_lists_and_single_numbers() -> None:
    found = Reading(mean=[1, 2, 3], std=2, image_size=8, shapes={"x": [3, 4]})  # type: ignore[arg-type]
    assert (found.mean, found.std) == ((1.0, 2.0, 3.0), (2.0,))
    assert (found.image_size, found.shapes) == ((8, 8), {"x": (3, 4)})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": "grey"}, "--mean takes numbers, not 'grey'"),
        ({"mean": [1, "a"]}, "--mean takes numbers, not '[1, 'a']'"),
        ({"inputs": ["a=b"]}, "--input takes pairs of names, not list"),
        ({"image_size": (1, 2, 3)}, "--image-size is a height and a width, not '(1, 2, 3)'"),
        ({"shapes": {"x": 3}}, "--shape x takes sizes of at least 1, not '3'"),
    ],
)
def test_wrong_values_from_python_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Reading(**fields)
    assert caught.value.message == message


def test_the_options_for_pixels_are_known() -> None:
    assert Reading().pixel_options == ()
    assert Reading(mean=(0.0,), layout="NCHW").pixel_options == ("--mean", "--layout")
    assert Reading(pixel_range=255).pixel_options == ("--pixel-range",)
