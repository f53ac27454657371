"""A study as a report: terminal, text, Markdown, HTML."""

from rich.console import Console, Group, RenderableType
from rich.text import Text

from onnxprune.points import Study
from onnxprune.report.figure import draw_inline
from onnxprune.report.markup import escape_markdown, page
from onnxprune.report.plot import draw_plot
from onnxprune.report.studies import (
    study_curves,
    study_facts,
    study_grid,
    study_title,
)
from onnxprune.report.tables import (
    facts_table,
    html_facts,
    html_table,
    markdown_facts,
    markdown_table,
    terminal_tables,
)
from onnxprune.report.terminal import print_on, read_abilities, text_of


def render_study(study: Study, width: int, plain: bool, blocks: bool = True) -> RenderableType:
    """Build what is printed; the arguments are those of `terminal.render`."""
    parts = terminal_tables(study_grid(study), width, plain, blocks)
    if study.kind != "sensitivity":
        drawn = draw_plot(study_curves(study), width, plain, blocks)
        parts += [Text(), *drawn] if drawn else []
    return Group(*parts, Text(), facts_table(study_facts(study), plain))


def print_study(study: Study, console: Console) -> None:
    """Print a study on a console, plain where it is no terminal."""
    plain, blocks = read_abilities(console)
    print_on(console, render_study(study, console.width, plain, blocks))


def study_to_text(study: Study) -> str:
    """Return a study as it looks where there is no terminal."""
    return text_of(lambda console: print_study(study, console))


def study_to_html(study: Study) -> str:
    """Return a study as one HTML page with its figure in it."""
    drawing = draw_inline(study)
    table = html_table(study_grid(study))
    return page(study_title(study), drawing + table + html_facts(study_facts(study)))


def study_to_markdown(study: Study) -> str:
    """Return a study as Markdown."""
    lines = [f"## {escape_markdown(study_title(study))}", ""]
    lines += [*markdown_table(study_grid(study)), "", *markdown_facts(study_facts(study)), ""]
    return "\n".join(lines)
