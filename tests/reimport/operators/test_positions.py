"""Where the values of a resized dimension come from."""

import numpy as np
import pytest

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.operators.positions import (
    Manner,
    Stretch,
    check,
    coordinates,
    nearest_places,
    weights,
)

DOUBLE = Stretch(2, 4, 2.0)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ("asymmetric", [0, 0.5, 1, 1.5]),
        ("half_pixel", [-0.25, 0.25, 0.75, 1.25]),
        ("pytorch_half_pixel", [-0.25, 0.25, 0.75, 1.25]),
        ("half_pixel_symmetric", [-0.25, 0.25, 0.75, 1.25]),
        ("tf_half_pixel_for_nn", [0.25, 0.75, 1.25, 1.75]),
        ("align_corners", [0, 1 / 3, 2 / 3, 1]),
        ("tf_crop_and_resize", [0, 1 / 3, 2 / 3, 1]),
    ],
)
def test_each_transform_has_its_coordinates(transform: str, expected: list[float]) -> None:
    np.testing.assert_allclose(coordinates(DOUBLE, transform), expected, rtol=1e-6)


def test_a_single_value_comes_from_the_beginning_or_the_middle() -> None:
    one = Stretch(5, 1, 0.2)
    assert coordinates(one, "align_corners").tolist() == [0]
    assert coordinates(one, "pytorch_half_pixel").tolist() == [0]
    assert coordinates(one, "half_pixel").tolist() == [2]
    region = Stretch(5, 1, 0.2, 0.25, 0.75)
    assert coordinates(region, "tf_crop_and_resize").tolist() == [2]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("round_prefer_floor", [0, 0, 1, 1, 3]),
        ("round_prefer_ceil", [0, 1, 1, 2, 3]),
        ("floor", [0, 0, 0, 1, 3]),
        ("ceil", [0, 1, 1, 2, 3]),
        ("simple", [0, 0, 0, 1, 3]),
    ],
)
def test_a_coordinate_is_rounded_to_what_is_there(how: str, expected: list[int]) -> None:
    places = np.array([-0.5, 0.5, 0.75, 1.5, 3.5], np.float32)
    assert nearest_places(places, Stretch(4, 5, 1.25), how).tolist() == expected


def test_before_opset_11_fewer_values_are_rounded_up() -> None:
    places = np.array([0, 1.5], np.float32)
    assert nearest_places(places, Stretch(3, 2, 0.667), "simple").tolist() == [0, 2]


def test_weights_repeat_the_edge_or_leave_it_out() -> None:
    places = np.array([-0.25, 0.25], np.float32)
    linear = weights(places, DOUBLE, Manner("linear", "half_pixel"))
    assert linear.tolist() == [[1, 0], [0.75, 0.25]]
    cubic = weights(places[1:], DOUBLE, Manner("cubic", "half_pixel"))
    # Taps at -1, 0, 1 and 2 weigh -0.10546875, 0.87890625, 0.26171875 and -0.03515625.
    np.testing.assert_allclose(cubic, [[0.7734375, 0.2265625]])
    inside = weights(places[1:], DOUBLE, Manner("cubic", "half_pixel", exclude=True))
    np.testing.assert_allclose(inside, [[0.87890625 / 1.140625, 0.26171875 / 1.140625]])


def test_antialias_widens_the_kernel() -> None:
    half = Stretch(4, 2, 0.5)
    found = weights(
        coordinates(half, "half_pixel"), half, Manner("linear", "half_pixel", antialias=True)
    )
    # A triangle of reach 2 around 0.5 and 2.5: 1, 3, 3, 1 eighths, the edge repeated.
    assert found.tolist() == [[0.5, 0.375, 0.125, 0], [0, 0.125, 0.375, 0.5]]


def test_unknown_words_are_refused() -> None:
    with pytest.raises(UnsupportedError) as found:
        coordinates(DOUBLE, "upside_down")
    message = "Resize has no coordinate_transformation_mode 'upside_down'"
    assert found.value.message == message
    with pytest.raises(UnsupportedError) as found:
        nearest_places(np.zeros(1, np.float32), DOUBLE, "sideways")
    assert found.value.message == "Resize has no nearest_mode 'sideways'"


@pytest.mark.parametrize(
    ("stretch", "manner", "odd"),
    [
        (Stretch(4, 2, 0.6), Manner("linear", "align_corners"), "with aligned corners"),
        (Stretch(2, 2, 1.3), Manner("linear", "half_pixel", antialias=True), "with antialias"),
        (
            Stretch(2, 2, 1.0, 0.1, 0.9),
            Manner("linear", "tf_crop_and_resize"),
            "from a region",
        ),
    ],
)
def test_what_runtimes_disagree_on_is_refused(
    stretch: Stretch, manner: Manner, odd: str
) -> None:
    with pytest.raises(UnsupportedError) as found:
        check(stretch, manner)
    assert found.value.message == (
        f"Resize of {stretch.size} values to 2 {odd} means different things to different runtimes"
    )
