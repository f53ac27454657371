"""Channels that were taken out, as a table and facts, in all forms of a report."""

import json

from rich.console import Console, Group, RenderableType
from rich.text import Text

from onnxprune.removals import Removal
from onnxprune.report.as_json import SCHEMA, removal_to_dict
from onnxprune.report.channels import removal_facts, removal_grid
from onnxprune.report.markup import escape_markdown, page
from onnxprune.report.tables import (
    facts_table,
    html_facts,
    html_table,
    markdown_facts,
    markdown_table,
    terminal_tables,
)
from onnxprune.report.terminal import print_on, read_abilities, text_of
from onnxprune.report.text import show
from onnxprune.version import __version__


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
    values = {"schema": SCHEMA, "version": __version__, **removal_to_dict(removal)}
    return json.dumps(values, indent=2, allow_nan=False)


def _title(removal: Removal) -> str:
    written = "" if removal.output is None else f" -> {show(removal.output)}"
    return f"onnxprune shrink: {show(removal.model)}{written}"
