"""The check of two files as a report of its own: terminal, text, Markdown, HTML."""

from rich.console import Console, Group, RenderableType
from rich.text import Text

from onnxprune.outcomes import CheckReport
from onnxprune.report.checks import check_facts, output_grid, verdict
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


def render_check(
    report: CheckReport, width: int, plain: bool, blocks: bool = True
) -> RenderableType:
    """Build what is printed; the arguments are those of `terminal.render`."""
    tables = terminal_tables(output_grid(report.result.measured), width, plain, blocks)
    return Group(*tables, Text(), facts_table(check_facts(report), plain))


def print_check(report: CheckReport, console: Console) -> None:
    """Print the check of two files on a console, plain where it is no terminal."""
    plain, blocks = read_abilities(console)
    print_on(console, render_check(report, console.width, plain, blocks))


def check_to_text(report: CheckReport) -> str:
    """Return a check as it looks where there is no terminal."""
    return text_of(lambda console: print_check(report, console))


def check_to_markdown(report: CheckReport) -> str:
    """Return a check as Markdown; the heading has the gate's verdict."""
    lines = [f"## {escape_markdown(_title(report))}", ""]
    lines += markdown_table(output_grid(report.result.measured))
    lines += ["", *markdown_facts(check_facts(report)), ""]
    return "\n".join(lines)


def check_to_html(report: CheckReport) -> str:
    """Return a check as one HTML page that needs no other file."""
    table = html_table(output_grid(report.result.measured))
    return page(_title(report), table + html_facts(check_facts(report)))


def _title(report: CheckReport) -> str:
    word = verdict(report.result)
    name = "onnxprune check" if word is None else f"onnxprune check {word}"
    return f"{name}: {show(report.dense)} -> {show(report.pruned)}"
