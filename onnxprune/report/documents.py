"""Reports as files: Markdown for summaries, HTML to pass on, plain text, JUnit for CI."""

import html
from collections.abc import Callable
from pathlib import Path

from onnxprune.errors import UsageError
from onnxprune.formats.output import check_output, write_whole
from onnxprune.outcomes import CheckReport
from onnxprune.removals import Removal
from onnxprune.report.as_json import check_to_json, to_json
from onnxprune.report.check_report import (
    check_to_html,
    check_to_markdown,
    check_to_text,
)
from onnxprune.report.checks import verdict
from onnxprune.report.junit import check_to_junit
from onnxprune.report.markup import escape_markdown, markdown_row, page
from onnxprune.report.removal_report import (
    removal_to_html,
    removal_to_json,
    removal_to_markdown,
    removal_to_text,
)
from onnxprune.report.summary import honest, report_facts, report_grids
from onnxprune.report.tables import html_facts, html_table, markdown_facts, markdown_table
from onnxprune.report.terminal import print_report, text_of
from onnxprune.report.text import change, count, percent, shape, short, show
from onnxprune.types import Report

HEAD = ("tensor", "op", "shape", "weights", "MACs", "kept", "zeros", "sparsity", "change")
WORDS = 3
"""The first columns have words and stand left; the others have numbers."""


def check_suffix(path: Path, checked: bool = True) -> None:
    """Refuse a report file whose form its suffix does not tell.

    Args:
        path: the file.
        checked: whether the report will have a check.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        known = ", ".join(sorted(WRITERS))
        raise UsageError(f"--report {path}: the suffix tells the form; choose one of {known}")
    if suffix == ".xml" and not checked:
        raise UsageError(
            f"--report {path}: a report without a check has no test cases", "--data adds one"
        )


def write_report(report: Report | CheckReport | Removal, path: Path) -> None:
    """Write a report in the form that the file's suffix asks for."""
    suffix = path.suffix.lower()
    if isinstance(report, CheckReport):
        check_suffix(path)
        text = CHECK_WRITERS[suffix](report)
    elif isinstance(report, Removal):
        check_suffix(path, checked=False)
        text = REMOVAL_WRITERS[suffix](report)
    else:
        check_suffix(path, report.check is not None)
        text = WRITERS[suffix](report)
    write_whole(check_output(path, [], force=True), text.encode("utf-8", "backslashreplace"))


def to_markdown(report: Report) -> str:
    """Return a report as Markdown."""
    rules = ["---"] * WORDS + ["---:"] * (len(HEAD) - WORDS)
    rows = [markdown_row(HEAD), markdown_row(rules)]
    rows += [markdown_row([escape_markdown(cell) for cell in row]) for row in _cells(report)]
    lines = [f"## {_title(report)}{escape_markdown(show(report.model))}", "", *rows, ""]
    for grid in report_grids(report):
        lines += [*markdown_table(grid), ""]
    return "\n".join([*lines, *markdown_facts(report_facts(report)), "", honest(report), ""])


def to_html(report: Report) -> str:
    """Return a report as one HTML page that needs no other file."""
    return page(show(report.model), html_body(report))


def html_body(report: Report) -> str:
    """Return what a page has below its title."""
    rows = []
    for tensor, cells in zip(report.tensors, _cells(report), strict=True):
        shown = [html.escape(cell) for cell in cells]
        width = f"{tensor.sparsity * 6:.2f}em"
        shown[7] += f' <span class="bar" style="width:{width}"></span>'
        rows.append(f"<tr>{_html_row(shown, 'td')}</tr>")
    head = _html_row([html.escape(title) for title in HEAD], "th")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    tables = "".join(html_table(grid) for grid in report_grids(report))
    return f"{html_facts(report_facts(report))}{tables}{table}<p>{honest(report)}</p>"


def to_text(report: Report) -> str:
    """Return a report as it looks where there is no terminal."""
    return text_of(lambda console: print_report(report, console))


def to_junit(report: Report) -> str:
    """Return the test cases of a report with a check."""
    if report.check is None:
        raise UsageError("a report without a check has no test cases", "--data adds one")
    return check_to_junit(report.check, report.output or report.model, report.seconds)


def _check_to_junit(report: CheckReport) -> str:
    return check_to_junit(report.result, report.pruned, report.seconds)


WRITERS: dict[str, Callable[[Report], str]] = {
    ".json": to_json,
    ".md": to_markdown,
    ".html": to_html,
    ".htm": to_html,
    ".txt": to_text,
    ".xml": to_junit,
}
CHECK_WRITERS: dict[str, Callable[[CheckReport], str]] = {
    ".json": check_to_json,
    ".md": check_to_markdown,
    ".html": check_to_html,
    ".htm": check_to_html,
    ".txt": check_to_text,
    ".xml": _check_to_junit,
}
REMOVAL_WRITERS: dict[str, Callable[[Removal], str]] = {
    ".json": removal_to_json,
    ".md": removal_to_markdown,
    ".html": removal_to_html,
    ".htm": removal_to_html,
    ".txt": removal_to_text,
}


def _title(report: Report) -> str:
    word = None if report.check is None else verdict(report.check)
    return "onnxprune: " if word is None else f"onnxprune {word}: "


def _cells(report: Report) -> list[list[str]]:
    return [
        [
            show(tensor.weight.path),
            show(tensor.weight.op),
            shape(tensor.weight.shape),
            count(tensor.weight.size),
            short(tensor.weight.macs),
            short(tensor.sparse_macs),
            count(tensor.tally.zeros),
            percent(tensor.sparsity),
            change(tensor),
        ]
        for tensor in report.tensors
    ]


def _html_row(cells: list[str], tag: str) -> str:
    """Join cells that are HTML already."""
    return "".join(
        f'<{tag} class="left">{cell}</{tag}>' if at < WORDS else f"<{tag}>{cell}</{tag}>"
        for at, cell in enumerate(cells)
    )
