"""Curves drawn with letters: braille dots between the points, or small letters without them."""

import math
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rich.text import Text

LETTERS = string.ascii_uppercase
COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")
HEIGHT = 16
WIDEST = 100
NARROWEST = 24
TICKS = 5
SEVERAL = "*"
LEGEND_GAP = 3
DENSE = "dense"
HUGE, TINY, FLAT = 1e150, 1e-100, 1e-9
"""Figures no axis has room for, those that are nothing, and a range that is none."""

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille character's dots, row by row."""

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: its name, and points from left to right."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """What a plot shows.

    Args:
        series: the curves.
        dense: the dense model's figure, where a dashed line is drawn.
        spell_place: spells what is below the x axis; `spell_figure`: beside the y axis.
        axis: what the x axis is.
    """

    series: tuple[Series, ...]
    dense: float
    spell_place: Callable[[float], str]
    spell_figure: Callable[[float], str]
    axis: str = "sparsity"


@dataclass(slots=True)
class _Canvas:
    """A field of characters; each has so many dots across and down."""

    width: int
    height: int
    fine: bool
    bits: dict[Place, int] = field(default_factory=dict)
    letters: dict[Place, str] = field(default_factory=dict)
    styles: dict[Place, str] = field(default_factory=dict)

    @property
    def dots(self) -> Place:
        """The dots across and down."""
        return (self.width * 2, self.height * 4) if self.fine else (self.width, self.height)

    def cell(self, dot: Place) -> Place:
        """Return the character that a dot is in."""
        return (dot[0] // 2, dot[1] // 4) if self.fine else dot

    def put(self, dot: Place, letter: str, style: str) -> None:
        """Set a dot, or its character where characters are all there is."""
        cell = self.cell(dot)
        if self.fine:
            bit = DOTS[dot[1] % 4][dot[0] % 2]
            self.bits[cell] = self.bits.get(cell, 0) | bit
        else:
            self.letters[cell] = letter
        self.styles[cell] = style

    def line(self, start: Place, end: Place, letter: str, style: str) -> None:
        """Set the dots between two."""
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for step in range(steps + 1):
            column, row = (
                round(a + (b - a) * step / steps) for a, b in zip(start, end, strict=True)
            )
            self.put((column, row), letter, style)

    def row(self, number: int) -> Text:
        """Return one line of characters."""
        text = Text()
        for column in range(self.width):
            cell = (column, number)
            shown = self.letters.get(cell) or chr(BRAILLE + self.bits.get(cell, 0))
            text.append(" " if shown == chr(BRAILLE) else shown, self.styles.get(cell, ""))
        return text


@dataclass(frozen=True, slots=True)
class _Scale:
    """How figures and sparsities become dots."""

    x: tuple[float, float]
    y: tuple[float, float]
    dots: Place

    def dot(self, x: float, y: float) -> Place:
        """Return the dot of a point."""
        (left, right), (bottom, top) = self.x, self.y
        columns, rows = self.dots
        return (
            round((x - left) / (right - left) * (columns - 1)),
            round((top - y) / (top - bottom) * (rows - 1)),
        )


def keep_drawable(series: Series) -> Series:
    """Return a curve from left to right, without figures that no axis has room for."""
    points = (point for point in series.points if is_drawable(point[1]))
    return Series(series.name, tuple(sorted(points)))


def is_drawable(figure: float) -> bool:
    """Whether a figure has a place on an axis."""
    return abs(figure) < HUGE


def draw_plot(curves: Curves, width: int, plain: bool, blocks: bool) -> list[Text]:
    """Draw curves; nothing where there are no two places to draw a curve between.

    Args:
        curves: what is drawn.
        width: of the whole, in columns.
        plain: without colours and lines that a log could not show.
        blocks: whether the encoding has braille dots.
    """
    known = [keep_drawable(each) for each in curves.series]
    places = sorted({x for each in known for x, _ in each.points})
    dense = curves.dense
    if len(places) < 2 or not is_drawable(dense):
        return []
    figures = [y for each in known for _, y in each.points] + [dense]
    ticks = round_ticks(min(figures), max(figures))
    labels = [curves.spell_figure(tick) for tick in ticks]
    margin = max(map(len, labels)) + 2
    columns = max(NARROWEST, min(width, WIDEST) - margin - 4)
    canvas = _Canvas(columns, HEIGHT, blocks)
    scale = _Scale((places[0], places[-1]), (ticks[0], ticks[-1]), canvas.dots)
    _draw_dense(canvas, scale.dot(places[0], dense)[1])
    for number, each in enumerate(known):
        _draw_curve(canvas, scale, each, number)
    several = _mark_points(canvas, scale, known)
    edge, notch, corner, floor = "│┤└─" if blocks and not plain else "||+-"
    rows = {
        canvas.cell(scale.dot(places[0], y))[1]: label
        for y, label in zip(ticks, labels, strict=True)
    }
    lines = []
    for row in range(HEIGHT):
        start = f"{rows.get(row, ''):>{margin - 1}} {notch if row in rows else edge}"
        lines.append(Text(start).append_text(canvas.row(row)))
    lines.append(Text(" " * margin + corner + floor * columns))
    marks = [(canvas.cell(scale.dot(x, ticks[0]))[0], curves.spell_place(x)) for x in places]
    lines.append(Text(" " * (margin + 1) + _spread(marks, columns + 3)))
    lines += _legend([each.name for each in known], blocks, several, width)
    return [Text(line.plain) for line in lines] if plain else lines


def round_ticks(low: float, high: float) -> list[float]:
    """Return at most six round numbers, evenly spaced, that reach from below to above."""
    largest = max(abs(low), abs(high))
    if high - low <= FLAT * largest or largest < TINY:
        spread = 0.01 if largest < TINY else 0.01 * largest
        low, high = low - spread, high + spread
    rough = (high - low) / (TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _letter(number: int) -> str:
    return LETTERS[number % len(LETTERS)]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _draw_dense(canvas: _Canvas, row: int) -> None:
    for column in range(canvas.dots[0]):
        if column % 4 < 2:
            canvas.put((column, row), "-", "dim")


def _draw_curve(canvas: _Canvas, scale: _Scale, series: Series, number: int) -> None:
    dots = [scale.dot(*point) for point in series.points]
    for start, end in pairwise(dots):
        canvas.line(start, end, _letter(number).lower(), _colour(number))


def _mark_points(canvas: _Canvas, scale: _Scale, known: Sequence[Series]) -> bool:
    """Put a letter at each point; return whether any two of different curves meet."""
    owners: dict[Place, set[int]] = {}
    for number, series in enumerate(known):
        for point in series.points:
            owners.setdefault(canvas.cell(scale.dot(*point)), set()).add(number)
    for cell, numbers in owners.items():
        first = min(numbers)
        alone = len(numbers) == 1
        canvas.letters[cell] = _letter(first) if alone else SEVERAL
        canvas.styles[cell] = f"bold {_colour(first)}" if alone else "bold"
    return any(len(numbers) > 1 for numbers in owners.values())


def _spread(marks: Sequence[tuple[int, str]], width: int) -> str:
    """Write labels under their places; the first and the last come before those between."""
    taken: dict[int, str] = {}
    for place, label in (marks[0], marks[-1], *marks[1:-1]):
        start = max(0, min(place - len(label) // 2, width - len(label)))
        end = start + len(label)
        if all(end + 2 <= other or other + len(taken[other]) + 2 <= start for other in taken):
            taken[start] = label
    line = ""
    for start in sorted(taken):
        line = line.ljust(start) + taken[start]
    return line


def _legend(names: Sequence[str], blocks: bool, several: bool, width: int) -> list[Text]:
    entries = [
        Text.assemble((_letter(number), f"bold {_colour(number)}"), f" {name}")
        for number, name in enumerate(names)
    ]
    dash = chr(BRAILLE + 0x12) * 2 if blocks else "- -"
    entries.append(Text.assemble((dash, "dim"), f" {DENSE}"))
    if several:
        entries.append(Text.assemble((SEVERAL, "bold"), " several"))
    lines = [Text()]
    for entry in entries:
        if lines[-1].plain and lines[-1].cell_len + entry.cell_len + LEGEND_GAP > width:
            lines.append(Text())
        gap = " " * LEGEND_GAP if lines[-1].plain else ""
        lines[-1].append(gap).append_text(entry)
    return lines
