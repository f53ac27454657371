"""Reports for people: a table and a summary, fitted to the width there is."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxprune.comparing import Comparison
from onnxprune.listing import MethodInfo
from onnxprune.report.summary import honest, report_facts, report_grids
from onnxprune.report.tables import NAME_ROOM, facts_table, terminal_tables
from onnxprune.report.text import Fact, change, count, percent, shape, short, show
from onnxprune.types import Report, TensorReport

BAR = 10
TEXT_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table; where there is no room, the highest ranks go first."""

    title: str
    cell: Callable[[TensorReport], str]
    right: bool = True
    rank: int = 0


COLUMNS: Sequence[Column] = (
    Column("op", lambda tensor: show(tensor.weight.op, 16), right=False, rank=1),
    Column("shape", lambda tensor: shape(tensor.weight.shape), right=False, rank=3),
    Column("type", lambda tensor: tensor.weight.dtype, right=False, rank=8),
    Column("weights", lambda tensor: count(tensor.weight.size)),
    Column("MACs", lambda tensor: short(tensor.weight.macs), rank=4),
    Column("kept", lambda tensor: short(tensor.sparse_macs), rank=5),
    Column("before", lambda tensor: count(tensor.tally.zeros_before), rank=6),
    Column("zeros", lambda tensor: count(tensor.tally.zeros)),
    Column("change", change, rank=7),
    Column("sparsity", lambda tensor: percent(tensor.sparsity)),
)
BAR_RANK = 2


def render(report: Report, width: int, plain: bool, blocks: bool = True) -> RenderableType:
    """Build what is printed.

    Args:
        report: the report.
        width: of the terminal, in columns.
        plain: without colours, lines and bars that a log could not show.
        blocks: whether the encoding has block characters for the bars.
    """
    parts: list[RenderableType] = [_table(report, width, plain, blocks), Text()]
    for grid in report_grids(report):
        parts += [*terminal_tables(grid, width, plain, blocks), Text()]
    lines = report_facts(report)
    if report.output is not None:
        wrote = ", ".join(show(file) for file in report.files)
        lines.append(Fact("wrote", f"{wrote} in {report.seconds:.1f} s"))
    parts.append(facts_table(lines, plain))
    if report.recipe is not None:
        parts += [Text(), Text(honest(report), style="" if plain else "dim")]
    return Group(*parts)


def render_comparison(comparison: Comparison, plain: bool) -> RenderableType:
    """Build the comparison of two masks."""
    table = _empty_table(plain)
    table.add_column("tensor", overflow="fold")
    for title in ("weights", "first", "second", "overlap"):
        table.add_column(title, justify="right")
    for layer in comparison.layers:
        table.add_row(
            Text(show(layer.path)),
            count(layer.size),
            percent(layer.first),
            percent(layer.second),
            percent(layer.overlap),
        )
    rank = "none" if comparison.spearman is None else f"{comparison.spearman:.3f}"
    lines = [
        f"ratios differ by {percent(comparison.distance)} on average (weighted), at most"
        f" {percent(comparison.largest)}; rank correlation {rank}",
        f"kept by both over kept by either: {percent(comparison.overlap)};"
        f" random masks with these ratios: {percent(comparison.chance)}",
    ]
    return Group(table, Text(), *(Text(line) for line in lines))


def render_methods(found: Sequence[MethodInfo]) -> RenderableType:
    """Build the list of methods and allocations."""
    table = _empty_table(plain=True)
    table.add_column("name", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("what it does, and where it comes from", overflow="fold")
    for info in found:
        needs = f"; needs {', '.join(info.needs)}" if info.needs else ""
        if info.steps > 1:
            needs += f"; {info.steps} steps"
        own = "".join(f"; --set {name}={value}" for name, value in info.options.items())
        table.add_row(
            Text("\n".join((info.name, *info.aliases))),
            Text(info.kind),
            Text(f"{info.summary}\n{info.paper}{needs}{own}"),
        )
    return table


def print_report(report: Report, console: Console) -> None:
    """Print a report on a console, plain where it is no terminal."""
    plain, blocks = read_abilities(console)
    print_on(console, render(report, console.width, plain, blocks))


def read_abilities(console: Console) -> tuple[bool, bool]:
    """Return whether output has to be plain, and whether it may have block characters."""
    plain = not console.is_terminal or console.no_color
    return plain, (console.encoding or "").lower().startswith("utf")


def text_of(printing: Callable[[Console], None]) -> str:
    """Return what is printed where there is no terminal."""
    stream = io.StringIO()
    printing(Console(file=stream, width=TEXT_WIDTH, force_terminal=False, color_system=None))
    return stream.getvalue()


def print_on(console: Console, rendered: RenderableType) -> None:
    """Print on a console, without blanks at the ends of lines where it is no terminal."""
    if console.is_terminal and not console.no_color:
        console.print(rendered, highlight=False, markup=False)
        return
    with console.capture() as capture:
        console.print(rendered, highlight=False, markup=False)
    console.file.write("\n".join(line.rstrip() for line in capture.get().split("\n")))


def _table(report: Report, width: int, plain: bool, blocks: bool) -> Table:
    names = [show(tensor.weight.path) for tensor in report.tensors]
    totals = _totals(report)
    unknown = ("MACs", "kept") if report.macs is None else ()
    cells = {
        column.title: [column.cell(tensor) for tensor in report.tensors]
        for column in COLUMNS
        if column.title not in unknown
    }
    widths = {
        title: max(map(cell_len, (title, totals.get(title, ""), *column)))
        for title, column in cells.items()
    }
    longest = max(map(cell_len, ("tensor", *names)))
    rank, room = _fitting(widths, longest, width, plain)
    columns = [column for column in COLUMNS if column.title in cells and column.rank <= rank]
    table = _empty_table(plain)
    table.show_footer = bool(report.tensors)
    table.add_column("tensor", "total", overflow="fold", width=min(longest, room))
    for column in columns:
        table.add_column(
            column.title,
            totals.get(column.title, ""),
            justify="right" if column.right else "left",
            no_wrap=True,
            min_width=widths[column.title],
        )
    if rank >= BAR_RANK:
        table.add_column("", no_wrap=True, width=BAR)
    for index, tensor in enumerate(report.tensors):
        row: list[RenderableType] = [Text(names[index])]
        row += [Text(cells[column.title][index]) for column in columns]
        if rank >= BAR_RANK:
            row.append(Text(bar(tensor.sparsity, blocks), style="" if plain else "cyan"))
        table.add_row(*row)
    return table


def _totals(report: Report) -> dict[str, str]:
    share = report.zeros / report.size if report.size else 0.0
    totals = {
        "weights": count(report.size),
        "zeros": count(report.zeros),
        "before": count(sum(tensor.tally.zeros_before for tensor in report.tensors)),
        "sparsity": percent(share),
    }
    if report.macs is not None:
        totals |= {"MACs": short(report.macs[0]), "kept": short(report.macs[1])}
    return totals


def _fitting(widths: dict[str, int], longest: int, width: int, plain: bool) -> tuple[int, int]:
    """Return up to which rank columns fit, and what room they leave for names."""
    gap, edges = (2, 0) if plain else (3, 2)
    room = 0
    for rank in range(max(column.rank for column in COLUMNS), -1, -1):
        taken = [
            widths[column.title]
            for column in COLUMNS
            if column.title in widths and column.rank <= rank
        ]
        if rank >= BAR_RANK:
            taken.append(BAR)
        room = width - edges - sum(taken) - gap * len(taken)
        if room >= min(longest, NAME_ROOM):
            return rank, room
    return 0, max(room, 1)


def _empty_table(plain: bool) -> Table:
    lines = None if plain else box.SIMPLE_HEAD
    return Table(
        box=lines, pad_edge=False, padding=(0, 1), header_style="" if plain else "bold"
    )


def bar(share: float, blocks: bool) -> str:
    """Draw a share as a bar; any share above nothing shows."""
    if not blocks:
        return "#" * (round(share * BAR) or (1 if share else 0))
    eighths = round(share * BAR * 8) or (1 if share else 0)
    full, rest = divmod(eighths, 8)
    return "█" * full + ("" if rest == 0 else " ▏▎▍▌▋▊▉"[rest])
