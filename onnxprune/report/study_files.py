"""Studies as files: the suffix tells the form; CSV has one line per point."""

import csv
import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from onnxprune.errors import UsageError
from onnxprune.formats.output import check_output, write_whole
from onnxprune.outcomes import Measured, OutputCheck
from onnxprune.points import Point, Study
from onnxprune.report.figure import check_matplotlib, draw_figure
from onnxprune.report.found_report import found_to_html, found_to_markdown, found_to_text
from onnxprune.report.junit import study_to_junit
from onnxprune.report.searches import search_curves
from onnxprune.report.studies import find_loss
from onnxprune.report.study_json import found_to_json, study_to_json
from onnxprune.report.study_report import study_to_html, study_to_markdown, study_to_text
from onnxprune.report.text import show
from onnxprune.types import Found

DRAWN_FORMS = (".html", ".htm", ".svg", ".png")
HEAD = (
    *("model", "method", "sparsity", "zeros", "size", "measure", "dense", "value", "drop"),
    *("top1_dense", "top1_pruned", "agreement", "kl", "cosine", "sqnr", "max_abs"),
    *("failure", "seconds"),
)
FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the start of a formula."""

LONGEST = 10_000

Value = str | int | float | None


def check_study_suffix(path: Path) -> None:
    """Refuse a file whose form its suffix does not tell, or that nothing here can draw."""
    suffix = path.suffix.lower()
    if suffix not in STUDY_WRITERS:
        known = ", ".join(sorted(STUDY_WRITERS))
        raise UsageError(f"--report {path}: the suffix tells the form; choose one of {known}")
    if suffix in DRAWN_FORMS:
        check_matplotlib()


def write_study(study: Study | Found, path: Path) -> None:
    """Write a study, or a search with its model, in the form that the suffix asks for."""
    check_study_suffix(path)
    suffix = path.suffix.lower()
    if isinstance(study, Found):
        made = FOUND_WRITERS[suffix](study)
    else:
        made = STUDY_WRITERS[suffix](study)
    data = made if isinstance(made, bytes) else made.encode("utf-8", "backslashreplace")
    write_whole(check_output(path, [], force=True), data)


def study_to_csv(study: Study) -> str:
    """Return a study as CSV: of each figure the first output that has it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEAD)
    for point in study.points:
        writer.writerow([_field(value) for value in _values(study, point)])
    return stream.getvalue()


STUDY_WRITERS: dict[str, Callable[[Study], str | bytes]] = {
    ".json": study_to_json,
    ".csv": study_to_csv,
    ".md": study_to_markdown,
    ".html": study_to_html,
    ".htm": study_to_html,
    ".txt": study_to_text,
    ".xml": study_to_junit,
    ".svg": lambda study: draw_figure(study, "svg"),
    ".png": lambda study: draw_figure(study, "png"),
}
FOUND_WRITERS: dict[str, Callable[[Found], str | bytes]] = {
    ".json": found_to_json,
    ".csv": lambda found: study_to_csv(found.search.study),
    ".md": found_to_markdown,
    ".html": found_to_html,
    ".htm": found_to_html,
    ".txt": found_to_text,
    ".xml": lambda found: study_to_junit(found.search.study),
    ".svg": lambda found: _draw(found, "svg"),
    ".png": lambda found: _draw(found, "png"),
}


def _draw(found: Found, form: str) -> bytes:
    return draw_figure(found.search.study, form, search_curves(found.search))


def _values(study: Study, point: Point) -> list[Value]:
    outputs = point.measured.outputs if point.measured is not None else ()
    return [
        study.model,
        point.method,
        point.sparsity,
        point.zeros,
        point.size,
        study.measure,
        study.dense,
        point.value,
        find_loss(study, point),
        *_accuracies(point.measured),
        _first(outputs, lambda each: each.agreement),
        _first(outputs, lambda each: each.kl),
        _first(outputs, lambda each: each.cosine),
        _first(outputs, lambda each: each.sqnr),
        _first(outputs, lambda each: each.max_abs),
        point.failure,
        round(point.seconds, 4),
    ]


def _accuracies(measured: Measured | None) -> tuple[Value, Value]:
    accuracy = measured.accuracy if measured is not None else None
    if accuracy is None:
        return None, None
    return accuracy.dense / accuracy.total, accuracy.pruned / accuracy.total


def _first(
    outputs: tuple[OutputCheck, ...], figure: Callable[[OutputCheck], float | Fraction | None]
) -> Value:
    found = (figure(output) for output in outputs)
    return next((float(value) for value in found if value is not None), None)


def _field(value: Value) -> Value:
    """Keep a file's strings from being read as formulas or acted on by a terminal."""
    if not isinstance(value, str):
        return value
    shown = show(value, LONGEST)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown
