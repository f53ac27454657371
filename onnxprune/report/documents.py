"""Reports as files: Markdown for summaries, HTML to pass on, plain text."""

import html
import io
from pathlib import Path

from rich.console import Console

from onnxprune.errors import UsageError
from onnxprune.formats.output import check_output, write_whole
from onnxprune.report.as_json import to_json
from onnxprune.report.terminal import print_report
from onnxprune.report.text import (
    HONEST,
    change,
    count,
    facts,
    percent,
    shape,
    short,
    show,
    skipped_by_reason,
    skipped_line,
)
from onnxprune.types import Report

HEAD = ("tensor", "op", "shape", "weights", "MACs", "kept", "zeros", "sparsity", "change")
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;text-align:right;"
    "border-bottom:1px solid #ddd;white-space:nowrap}td:first-child,th:first-child,"
    "td:nth-child(2),td:nth-child(3){text-align:left}"
    ".bar{display:inline-block;height:.7em;background:#2a7de1}"
    "dt{float:left;width:7rem;color:#666}dd{margin-left:7rem}"
)


def check_suffix(path: Path) -> None:
    """Refuse a report file whose form its suffix does not tell."""
    if path.suffix.lower() not in WRITERS:
        known = ", ".join(sorted(WRITERS))
        raise UsageError(f"--report {path}: the suffix tells the form; choose one of {known}")


def write_report(report: Report, path: Path) -> None:
    """Write a report in the form that the file's suffix asks for."""
    check_suffix(path)
    text = WRITERS[path.suffix.lower()](report)
    write_whole(check_output(path, [], force=True), text.encode("utf-8", "backslashreplace"))


def to_markdown(report: Report) -> str:
    """Return a report as Markdown."""
    rows = [_row(HEAD), _row(["---"] * 3 + ["---:"] * (len(HEAD) - 3))]
    rows += [_row([_markdown(cell) for cell in cells]) for cells in _cells(report)]
    lines = [f"## onnxprune: {_markdown(show(report.model))}", "", *rows, ""]
    lines += [f"- **{fact.label}**: {_markdown(fact.text)}" for fact in facts(report)]
    lines += [
        f"- **left alone**: {_markdown(skipped_line(reason, members))}"
        for reason, members in skipped_by_reason(report)
    ]
    lines += [f"- **warning**: {_markdown(show(warning))}" for warning in report.warnings]
    return "\n".join([*lines, "", HONEST, ""])


def to_html(report: Report) -> str:
    """Return a report as one HTML page that needs no other file."""
    head = "".join(f"<th>{cell}</th>" for cell in HEAD)
    body = []
    for tensor, cells in zip(report.tensors, _cells(report), strict=True):
        shown = [html.escape(cell) for cell in cells]
        width = f"{tensor.sparsity * 6:.2f}em"
        shown[7] += f' <span class="bar" style="width:{width}"></span>'
        body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in shown) + "</tr>")
    lines = [(fact.label, fact.text) for fact in facts(report)]
    lines += [("left alone", skipped_line(*group)) for group in skipped_by_reason(report)]
    lines += [("warning", show(warning)) for warning in report.warnings]
    summary = "".join(
        f"<dt>{html.escape(label)}</dt><dd>{html.escape(text)}</dd>" for label, text in lines
    )
    title = html.escape(show(report.model))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1><dl>{summary}</dl>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        f"<p>{HONEST}</p></body></html>\n"
    )


def to_text(report: Report) -> str:
    """Return a report as it looks where there is no terminal."""
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=False, color_system=None)
    print_report(report, console)
    return stream.getvalue()


WRITERS = {
    ".json": to_json,
    ".md": to_markdown,
    ".html": to_html,
    ".htm": to_html,
    ".txt": to_text,
}


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


def _row(cells: "list[str] | tuple[str, ...]") -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown(text: str) -> str:
    """Keep text from being read as markup or as a command of a CI log."""
    escaped = html.escape(text, quote=False)
    return "".join("\\" + letter if letter in "\\`*_[]|#~" else letter for letter in escaped)
