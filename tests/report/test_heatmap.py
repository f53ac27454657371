"""Heat as a colour, a shade or a digit: always the same order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.report.heatmap import colour, find_heat, ink, shade


def lightness(web: str) -> float:
    parts = [int(web[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_heat_is_never_lighter(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert lightness(colour(low)) >= lightness(colour(high)) - 0.02
    assert shade(low, False) <= shade(high, False)
    assert " ░▒▓█".index(shade(low, True)) <= " ░▒▓█".index(shade(high, True))


@given(st.floats(0, 1))
def test_letters_can_be_read_on_their_colour(heat: float) -> None:
    first, second = sorted((lightness(colour(heat)), lightness(ink(heat))))
    assert (second + 0.05) / (first + 0.05) >= 3.5


def test_the_ends_are_pale_green_and_dark_red() -> None:
    assert (colour(0), colour(1)) == ("#e2f3eb", "#7a101c")
    assert [shade(heat, False) for heat in (0, 0.05, 0.5, 0.99, 1)] == [
        "0",
        "0",
        "5",
        "9",
        "9",
    ]
    assert "".join(shade(heat, True) for heat in (0, 0.25, 0.5, 0.75, 1)) == " ░▒▓█"


@pytest.mark.parametrize(
    ("loss", "largest", "heat"),
    [
        (0.0, 0.5, 0.0),
        (0.25, 0.5, 0.5),
        (0.5, 0.5, 1.0),
        (-0.1, 0.5, 0.0),
        (math.inf, 0.5, 1.0),
        (0.0, 0.0, 0.0),
        (-0.5, -0.5, 0.0),
        (None, 0.5, None),
        (math.nan, 0.5, None),
    ],
)
def test_a_loss_is_hot_by_its_share_of_the_largest(
    loss: float | None, largest: float, heat: float | None
) -> None:
    assert find_heat(loss, largest) == heat
