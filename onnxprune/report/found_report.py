"""A search and the model that it wrote as one report, in all forms."""

from rich.console import Console, Group, RenderableType
from rich.text import Text

from onnxprune.report.documents import html_body, to_markdown
from onnxprune.report.figure import draw_inline
from onnxprune.report.markup import escape_markdown, page
from onnxprune.report.plot import draw_plot
from onnxprune.report.searches import search_curves, search_facts, search_grid
from onnxprune.report.studies import study_title
from onnxprune.report.tables import (
    facts_table,
    html_facts,
    html_table,
    markdown_facts,
    markdown_table,
    terminal_tables,
)
from onnxprune.report.terminal import print_on, read_abilities, render, text_of
from onnxprune.types import Found


def render_found(found: Found, width: int, plain: bool, blocks: bool = True) -> RenderableType:
    """Build what is printed; the arguments are those of `terminal.render`."""
    search = found.search
    parts = terminal_tables(search_grid(search), width, plain, blocks)
    drawn = draw_plot(search_curves(search), width, plain, blocks)
    parts += [Text(), *drawn] if drawn else []
    parts += [Text(), facts_table(search_facts(search), plain), Text()]
    return Group(*parts, render(found.report, width, plain, blocks))


def print_found(found: Found, console: Console) -> None:
    """Print a search on a console, plain where it is no terminal."""
    plain, blocks = read_abilities(console)
    print_on(console, render_found(found, console.width, plain, blocks))


def found_to_text(found: Found) -> str:
    """Return a search as it looks where there is no terminal."""
    return text_of(lambda console: print_found(found, console))


def found_to_markdown(found: Found) -> str:
    """Return a search as Markdown."""
    search = found.search
    lines = [f"## {escape_markdown(study_title(search.study))}", ""]
    lines += [*markdown_table(search_grid(search)), ""]
    lines += [*markdown_facts(search_facts(search)), "", to_markdown(found.report)]
    return "\n".join(lines)


def found_to_html(found: Found) -> str:
    """Return a search as one HTML page with its figure in it."""
    search = found.search
    parts = [
        draw_inline(search.study, search_curves(search)),
        html_table(search_grid(search)),
        html_facts(search_facts(search)),
        html_body(found.report),
    ]
    return page(study_title(search.study), "".join(parts))
