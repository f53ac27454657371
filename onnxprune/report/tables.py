"""Tables of figures as one value for all forms; each form says how a cell is marked."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len
from rich.console import JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from onnxprune.report.heatmap import colour, ink, shade
from onnxprune.report.markup import escape_markdown, markdown_row
from onnxprune.report.text import Fact

TONES = {"good": "green", "bad": "bold red", "warning": "yellow", "best": "bold"}
"""What a tone is on a terminal; documents have it as a class."""

NAME_ROOM = 30
"""Columns give way until names have this much room; longer ones are folded."""

HEAD_ROOM = 18
"""Heads are folded at their blanks, and where a word is longer than this."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; where there is no room, the highest ranks go first."""

    title: str
    right: bool = True
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure as it is shown.

    Args:
        text: what it says.
        tone: `good`, `bad` or `best`; empty for none.
        heat: from 0 to 1 where a map of heat is drawn.
    """

    text: str
    tone: str = ""
    heat: float | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: its first column has names, which fold where there is no room.

    Args:
        columns: of the names and of the figures.
        rows: one cell for each column.
        room: columns give way until names have this much.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    room: int = NAME_ROOM

    def take(self, chosen: Sequence[int]) -> "Grid":
        """Return the names and the columns at some positions."""
        kept = (0, *chosen)
        columns = tuple(self.columns[at] for at in kept)
        rows = tuple(tuple(row[at] for at in kept) for row in self.rows)
        return replace(self, columns=columns, rows=rows)


def terminal_tables(grid: Grid, width: int, plain: bool, blocks: bool) -> list[RenderableType]:
    """Build a table for a terminal; what is too wide becomes several, one below the other."""
    if plain:
        grid = _mark(grid, blocks)
    parts = _split(grid, width, plain)
    tables: list[RenderableType] = []
    for part in parts:
        tables += [Text()] if tables else []
        tables.append(_build(part, width, plain))
    return tables


def facts_table(lines: Sequence[Fact], plain: bool) -> Table:
    """Build the lines below a table."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style=None if plain else "dim", no_wrap=True)
    table.add_column(overflow="fold")
    for before, line in zip((None, *lines), lines, strict=False):
        tone = "" if plain else TONES.get(line.tone, "")
        repeated = before is not None and before.label == line.label and not line.tone
        # A warning is told by its label; its text stays as readable as any other.
        label, text = (tone, "") if line.tone == "warning" else ("", tone)
        name = "" if repeated else line.label
        table.add_row(Text(name, style=label), Text(line.text, style=text))
    return table


def markdown_table(grid: Grid) -> list[str]:
    """Return a table's lines in Markdown."""
    heads = [escape_markdown(column.title) for column in grid.columns]
    rules = ["---:" if column.right else "---" for column in grid.columns]
    rows = [
        [
            f"**{escape_markdown(cell.text)}**" if cell.tone else escape_markdown(cell.text)
            for cell in row
        ]
        for row in grid.rows
    ]
    return [markdown_row(cells) for cells in (heads, rules, *rows)]


def markdown_facts(lines: Sequence[Fact]) -> list[str]:
    """Return the lines below a table in Markdown."""
    return [
        f"- **{escape_markdown(line.label)}**: {escape_markdown(line.text)}" for line in lines
    ]


def html_table(grid: Grid) -> str:
    """Return a table in HTML."""
    head = "".join(
        f"<th{_side(column)}>{html.escape(column.title)}</th>" for column in grid.columns
    )
    rows = "".join(
        "<tr>" + "".join(map(_html_cell, grid.columns, row)) + "</tr>" for row in grid.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def html_facts(lines: Sequence[Fact]) -> str:
    """Return the lines below a table in HTML."""
    parts = []
    for line in lines:
        tone = f' class="{line.tone}"' if line.tone else ""
        label, text = html.escape(line.label), html.escape(line.text)
        parts.append(f"<dt>{label}</dt><dd{tone}>{text}</dd>")
    return f"<dl>{''.join(parts)}</dl>"


def _html_cell(column: Column, cell: Cell) -> str:
    names = " ".join(name for name in ("" if column.right else "left", cell.tone) if name)
    kind = f' class="{names}"' if names else ""
    look = ""
    if cell.heat is not None:
        look = f' style="background:{colour(cell.heat)};color:{ink(cell.heat)}"'
    return f"<td{kind}{look}>{html.escape(cell.text)}</td>"


def _side(column: Column) -> str:
    return "" if column.right else ' class="left"'


def _mark(grid: Grid, blocks: bool) -> Grid:
    """Put into the text what is a colour on a terminal."""
    return replace(
        grid, rows=tuple(tuple(_marked(cell, blocks) for cell in row) for row in grid.rows)
    )


def _marked(cell: Cell, blocks: bool) -> Cell:
    text = f"*{cell.text}" if cell.tone == "best" else cell.text
    return Cell(text if cell.heat is None else f"{text} {shade(cell.heat, blocks)}")


def _widths(grid: Grid) -> list[int]:
    return [
        max(
            [min(HEAD_ROOM, max(map(cell_len, column.title.split(" "))))]
            + [cell_len(row[at].text) for row in grid.rows]
        )
        for at, column in enumerate(grid.columns)
    ]


def _room(widths: Sequence[int], width: int, plain: bool) -> int:
    """Return what columns of these widths leave for names."""
    gap, edges = (2, 0) if plain else (3, 2)
    return width - edges - sum(widths) - gap * len(widths)


def _split(grid: Grid, width: int, plain: bool) -> list[Grid]:
    """Leave out the columns that can give way, then begin a new table where one is full."""
    widths = _widths(grid)
    wanted = min(widths[0], grid.room)
    places = list(range(1, len(grid.columns)))
    for rank in sorted({column.rank for column in grid.columns[1:]}, reverse=True):
        places = [at for at in places if grid.columns[at].rank <= rank]
        if _room([widths[at] for at in places], width, plain) >= wanted:
            break
    parts: list[list[int]] = [[]]
    for at in places:
        taken = [widths[place] for place in (*parts[-1], at)]
        if parts[-1] and _room(taken, width, plain) < wanted:
            parts.append([])
        parts[-1].append(at)
    return [grid.take(part) for part in parts]


def _build(grid: Grid, width: int, plain: bool) -> Table:
    lines = None if plain else box.SIMPLE_HEAD
    table = Table(
        box=lines, pad_edge=False, padding=(0, 1), header_style="" if plain else "bold"
    )
    names, *widths = _widths(grid)
    room = max(1, min(names, _room(widths, width, plain)))
    first, *columns = grid.columns
    table.add_column(Text(first.title), justify=_justify(first), overflow="fold", width=room)
    for column, size in zip(columns, widths, strict=True):
        head = Text(column.title, overflow="fold")
        table.add_column(head, justify=_justify(column), overflow="fold", width=size)
    for row in grid.rows:
        table.add_row(*(Text(cell.text, style=_style(cell, plain)) for cell in row))
    return table


def _justify(column: Column) -> JustifyMethod:
    return "right" if column.right else "left"


def _style(cell: Cell, plain: bool) -> str:
    if plain:
        return ""
    if cell.heat is not None:
        return f"{ink(cell.heat)} on {colour(cell.heat)}"
    return TONES.get(cell.tone, "")
