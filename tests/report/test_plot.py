"""Curves in a terminal: every point has its letter, at its place, in any encoding."""

import io
import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from onnxprune.report.plot import Curves, Series, draw_plot, is_drawable, round_ticks
from onnxprune.report.spelling import sparsity

TWO = Series("lamp", ((0.5, 0.9), (0.9, 0.1)))


def curves(*series: Series, dense: float = 1.0) -> Curves:
    return Curves(series, dense, sparsity, lambda value: f"{value:g}")


def lines(made: Curves, width: int = 60, blocks: bool = False) -> list[str]:
    return [line.plain for line in draw_plot(made, width, True, blocks)]


def field(drawn: list[str]) -> list[str]:
    """Return what is right of the y axis."""
    start = drawn[0].index("|") + 1
    return [line[start:] for line in drawn if line[start - 1 : start] == "|"]


def test_a_curve_goes_from_its_first_point_to_its_last() -> None:
    drawn = field(lines(curves(TWO)))
    assert len(drawn) == 16
    starts = [row for row in drawn if row.startswith("A")]
    ends = [row for row in drawn if row.rstrip().endswith("A")]
    assert (len(starts), len(ends)) == (1, 1)
    assert drawn.index(starts[0]) < drawn.index(ends[0])
    assert all("a" in row for row in drawn[drawn.index(starts[0]) + 1 : drawn.index(ends[0])])


def test_the_dense_figure_is_a_dashed_line_across() -> None:
    top = field(lines(curves(TWO)))[0]
    assert set(top) == {"-", " "}
    assert top.count("-") >= len(top) // 2 - 1


def test_the_axes_have_round_labels() -> None:
    drawn = lines(curves(TWO))
    labels = [line.split("|")[0].strip() for line in drawn[:16]]
    assert [label for label in labels if label] == ["1", "0.75", "0.5", "0.25", "0"]
    below = drawn[17]
    assert below.split() == ["50", "%", "90", "%"]


def test_the_last_label_comes_before_those_that_have_no_room() -> None:
    crowded = Series("a", tuple((x, x) for x in (0.5, 0.97, 0.98, 0.99)))
    assert lines(curves(crowded))[17].split() == ["50", "%", "99", "%"]


def test_points_of_several_curves_at_one_place_are_marked_as_such() -> None:
    other = Series("erk", ((0.5, 0.9), (0.9, 0.8)))
    text = "\n".join(lines(curves(TWO, other)))
    assert "* several" in text
    assert "*" in "".join(field(lines(curves(TWO, other))))
    assert "* several" not in "\n".join(lines(curves(TWO)))


def test_the_legend_names_each_curve() -> None:
    many = [Series(f"m{number}", ((0.1, 0.0), (0.9, number / 40))) for number in range(30)]
    drawn = lines(curves(*many))
    legend = " ".join(drawn[18:])
    assert "A m0" in legend
    assert "Z m25   A m26" in legend
    assert max(map(len, drawn)) <= 60


def test_braille_dots_are_drawn_where_there_are_blocks() -> None:
    text = "".join(lines(curves(TWO), blocks=True))
    assert any(0x2800 < ord(letter) <= 0x28FF for letter in text)
    assert "".join(lines(curves(TWO), blocks=False)).isascii()


def test_a_terminal_gets_colours_and_lines_and_a_log_does_not() -> None:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=80,
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
    )
    for line in draw_plot(curves(TWO), 80, False, True):
        console.print(line)
    assert "│" in stream.getvalue()
    assert "\x1b[1;36mA" in stream.getvalue()
    assert "│" not in "".join(lines(curves(TWO), blocks=True))


@pytest.mark.parametrize(
    "made",
    [
        curves(),
        curves(Series("a", ())),
        curves(Series("a", ((0.5, 0.9),))),
        curves(Series("a", ((0.5, 0.9), (0.9, math.nan)))),
        curves(TWO, dense=math.inf),
    ],
)
def test_what_is_no_curve_is_not_drawn(made: Curves) -> None:
    assert lines(made) == []


FIGURES = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.lists(st.tuples(st.floats(0, 1), FIGURES), min_size=2, max_size=6)


@given(st.lists(POINTS, min_size=1, max_size=4), FIGURES, st.booleans())
def test_any_points_are_drawn_within_the_field(
    points: list[list[tuple[float, float]]], dense: float, blocks: bool
) -> None:
    made = curves(*(Series("m", tuple(each)) for each in points), dense=dense)
    drawn = lines(made, 80, blocks)
    places = {x for each in points for x, y in each if is_drawable(y)}
    if len(places) < 2 or not is_drawable(dense):
        assert drawn == []
        return
    assert max(map(len, drawn)) <= 80
    letters = set("".join(field(drawn)))
    assert letters & set(string.ascii_uppercase[: len(points)] + "*")


@given(FIGURES.filter(is_drawable), FIGURES.filter(is_drawable))
def test_ticks_are_round_and_reach_around_all_figures(first: float, second: float) -> None:
    low, high = min(first, second), max(first, second)
    ticks = round_ticks(low, high)
    slack = 1e-6 * max(high - low, abs(low), 1e-300)
    assert 2 <= len(ticks) <= 7
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
