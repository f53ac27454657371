"""Channels that were taken out, as a table and facts, in all forms of a report."""

import json
import math
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from onnxprune.encoding import encode
from onnxprune.outcomes import DataFacts, Latency
from onnxprune.removals import Removal, RemovedChannels, Sameness
from onnxprune.report.as_json import SCHEMA
from onnxprune.report.checks import SAME_TIME, place_text, warning_facts
from onnxprune.report.markup import escape_markdown, page
from onnxprune.report.spelling import NONE, duration
from onnxprune.report.tables import (
    Cell,
    Column,
    Grid,
    facts_table,
    html_facts,
    html_table,
    markdown_facts,
    markdown_table,
    terminal_tables,
)
from onnxprune.report.terminal import print_on, read_abilities, text_of
from onnxprune.report.text import Fact, bytes_text, count, percent, short, show
from onnxprune.version import __version__

REASON = 120
COLUMNS = (
    Column("channels of", right=False),
    Column("before", rank=1),
    Column("after"),
    Column("zero, stay", rank=2),
    Column("why", right=False, rank=3),
)


def removal_grid(removal: Removal) -> Grid:
    """Return what became of each group of channels."""
    return Grid(COLUMNS, tuple(_row(group) for group in removal.groups))


def _row(group: RemovedChannels) -> tuple[Cell, ...]:
    first, *others = group.producers or ("?",)
    name = show(first) + (f" +{len(others)}" if others else "")
    gone = group.after < group.before
    return (
        Cell(name),
        Cell(count(group.before)),
        Cell(count(group.after), "good" if gone else ""),
        Cell(count(group.zeros) if group.zeros else NONE),
        Cell(show(group.reason, REASON) if group.reason else NONE),
    )


def removal_facts(removal: Removal) -> list[Fact]:
    """Say what was won, and what was seen to."""
    before, removed = removal.before, removal.removed
    lines = [
        Fact("channels", f"{count(removed)} of {count(before)} taken out"),
        Fact("weights", _change(*removal.parameters)),
    ]
    if removal.macs is not None:
        lines.append(Fact("MACs", _change(*removal.macs)))
    lines.append(Fact("file", bytes_text(removal.sizes)))
    if removal.latency is not None:
        lines.append(Fact("latency", latency_text(removal.latency)))
    if removal.verified is not None:
        lines.append(Fact("checked", show(removal.verified)))
    if removal.same is not None:
        lines += same_facts(removal.same)
    if removal.output is not None:
        files = ", ".join(show(file) for file in removal.files)
        lines.append(Fact("wrote", f"{files} in {removal.seconds:.1f} s"))
    return lines + warning_facts(removal.warnings)


def same_facts(same: Sameness) -> list[Fact]:
    """Say how close both models are."""
    text = (
        f"the same outputs, within {same.largest:.1g} of the largest value"
        f" ({same.allowed:.1g} is allowed)"
    )
    facts = DataFacts(same.source, same.samples, labelled=False, batch=same.batch)
    return [Fact("outputs", text, "good"), Fact("ran on", place_text(same.place, facts))]


def latency_text(latency: Latency) -> str:
    """Say what the time of a batch was with and without the channels."""
    times = (
        f"{duration(latency.dense)} -> {duration(latency.pruned)} per batch of"
        f" {count(latency.batch)} (median of {count(latency.runs)}, interleaved)"
    )
    if not latency.dense > 0 or not math.isfinite(latency.ratio):
        return times
    if abs(1 - latency.ratio) <= SAME_TIME:
        return f"{times}: no difference"
    if abs(1 - latency.ratio) <= latency.spread:
        return f"{times}: the runs themselves differ by more"
    word = "less" if latency.ratio < 1 else "more"
    return f"{times}: {percent(abs(1 - latency.ratio))} {word} time"


def _change(before: int, after: int) -> str:
    less = percent(1 - after / before) if before else percent(0.0)
    return f"{short(before)} -> {short(after)}: {less} less"


def render_removal(
    removal: Removal, width: int, plain: bool, blocks: bool = True
) -> RenderableType:
    """Build what is printed; the arguments are those of `terminal.render`."""
    tables = terminal_tables(removal_grid(removal), width, plain, blocks)
    return Group(*tables, Text(), facts_table(removal_facts(removal), plain))


def print_removal(removal: Removal, console: Console) -> None:
    """Print a removal on a console, plain where it is no terminal."""
    plain, blocks = read_abilities(console)
    print_on(console, render_removal(removal, console.width, plain, blocks))


def removal_to_text(removal: Removal) -> str:
    """Return a removal as it looks where there is no terminal."""
    return text_of(lambda console: print_removal(removal, console))


def removal_to_markdown(removal: Removal) -> str:
    """Return a removal as Markdown."""
    lines = [f"## {escape_markdown(_title(removal))}", ""]
    lines += markdown_table(removal_grid(removal))
    return "\n".join([*lines, "", *markdown_facts(removal_facts(removal)), ""])


def removal_to_html(removal: Removal) -> str:
    """Return a removal as one HTML page that needs no other file."""
    table = html_table(removal_grid(removal))
    return page(_title(removal), html_facts(removal_facts(removal)) + table)


def removal_to_json(removal: Removal) -> str:
    """Return a removal as JSON text."""
    values: dict[str, Any] = {"schema": SCHEMA, "version": __version__, **encode(removal)}
    for name in ("parameters", "macs"):
        pair = values[name]
        values[name] = None if pair is None else {"before": pair[0], "after": pair[1]}
    values["bytes"] = values.pop("sizes")
    values["channels"] = {"before": removal.before, "removed": removal.removed}
    values["seconds"] = round(removal.seconds, 4)
    return json.dumps(values, indent=2, allow_nan=False)


def _title(removal: Removal) -> str:
    written = "" if removal.output is None else f" -> {show(removal.output)}"
    return f"onnxprune shrink: {show(removal.model)}{written}"
