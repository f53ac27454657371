"""What a study showed, as tables and facts that all forms of a report share."""

import math

from onnxprune.points import Point, Study
from onnxprune.report.checks import (
    BENEFIT,
    data_warning,
    latency_text,
    place_text,
    warning_facts,
)
from onnxprune.report.heatmap import find_heat
from onnxprune.report.plot import Curves, Series
from onnxprune.report.spelling import NONE, SHARES, cosine, number, points, share, sparsity
from onnxprune.report.tables import Cell, Column, Grid
from onnxprune.report.text import Fact, bytes_text, count, percent, show

NAMES = 60
FAILED = "failed"
DENSE = "dense"
NOT_MEASURED = "it could not be measured"
MOST_FAILURES = 10


def study_grid(study: Study) -> Grid:
    """Return the table that suits the kind of a study."""
    if study.kind == "sensitivity":
        return _sensitivity_grid(study)
    return _search_grid(study) if study.kind == "search" else _sweep_grid(study)


def study_curves(study: Study) -> Curves:
    """Return one curve per method, without the points that failed."""
    known: dict[str, list[tuple[float, float]]] = {method: [] for method in study.methods}
    for point in study.points:
        if point.value is not None:
            known[point.method].append((point.sparsity, point.value))
    series = [Series(show(name, NAMES), tuple(sorted(known[name]))) for name in known]
    return Curves(tuple(series), study.dense, sparsity, lambda value: spell_tick(study, value))


def study_facts(study: Study) -> list[Fact]:
    """Say what a study showed besides its table."""
    lines = data_warning(study.data)
    if study.kind != "search":
        lines.append(Fact("figures", _explain(study)))
    if study.kind == "sensitivity":
        lines.append(
            Fact(DENSE, f"{show(study.measure, NAMES)} {spell_figure(study, study.dense)}")
        )
    failures = [point for point in study.points if point.value is None]
    lines += [_failure(point) for point in failures[:MOST_FAILURES]]
    if len(failures) > MOST_FAILURES:
        more = f"{count(len(failures) - MOST_FAILURES)} more; JSON and CSV have them all"
        lines.append(Fact(FAILED, more, "warning"))
    if study.latency is not None:
        lines.append(Fact("latency", latency_text(study.latency, study.place)))
    if study.sizes is not None:
        lines.append(Fact("file", bytes_text(study.sizes)))
    lines.append(Fact("benefit", BENEFIT))
    lines.append(Fact("ran on", place_text(study.place, study.data)))
    took = f"{study.seconds:.1f} s for {count(len(study.points))} points"
    return [*lines, Fact("took", took), *warning_facts(study.warnings)]


def study_title(study: Study) -> str:
    """Return the heading of a study."""
    return f"onnxprune {study.kind}: {show(study.model)}"


def is_share(study: Study) -> bool:
    """Whether the figure is a share, which is spelt in percent; own metrics have any scale."""
    first = next(
        (point.measured for point in study.points if point.measured is not None), None
    )
    own = first is not None and first.own is not None
    return study.measure in SHARES and not own and 0 <= study.dense <= 1


def spell_figure(study: Study, value: float | None) -> str:
    """Spell the figure of a study."""
    if is_share(study):
        return share(value)
    return cosine(value) if study.measure == "cosine" else number(value, 4)


def spell_tick(study: Study, value: float) -> str:
    """Spell a round number at the axis of the figure."""
    return sparsity(value) if is_share(study) else f"{value:.10g}"


def spell_loss(study: Study, value: float | None) -> str:
    """Spell how much of the figure was lost."""
    if value is None or math.isnan(value):
        return NONE
    if is_share(study):
        return points(value)
    return number(value, 3)


def find_loss(study: Study, point: Point | None) -> float | None:
    """Return how much worse than the dense model a point is."""
    if point is None or point.value is None:
        return None
    return study.dense - point.value


def index_points(study: Study) -> dict[tuple[str, float], Point]:
    """Return the points by method and sparsity; the first where there are several."""
    return {(point.method, point.sparsity): point for point in reversed(study.points)}


def find_largest_loss(study: Study) -> float:
    """Return the loss that is the hottest of a map."""
    losses = [find_loss(study, point) for point in study.points]
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    return max(known, default=0.0)


def _sweep_grid(study: Study) -> Grid:
    columns = [Column(show(method, NAMES)) for method in study.methods]
    first = DENSE if 0.0 in study.sparsities else sparsity(0)
    dense = Cell(spell_figure(study, study.dense))
    rows = [(Cell(first), *[dense] * len(columns))]
    index = index_points(study)
    for wanted in study.sparsities:
        found = [index.get((method, wanted)) for method in study.methods]
        known = [p.value for p in found if p is not None and p.value is not None]
        best = max(known) if len(set(known)) > 1 else None
        rows.append((Cell(sparsity(wanted)), *(_sweep_cell(study, p, best) for p in found)))
    return Grid((Column("sparsity", right=False), *columns), tuple(rows))


def _sweep_cell(study: Study, point: Point | None, best: float | None) -> Cell:
    if point is None:
        return Cell(NONE)
    if point.value is None:
        return Cell(FAILED, "bad")
    tone = "best" if best is not None and point.value == best else ""
    return Cell(spell_figure(study, point.value), tone)


def _search_grid(study: Study) -> Grid:
    columns = (
        Column("sparsity", right=False),
        Column("method", right=False, rank=1),
        Column("zeros", rank=2),
        Column(show(study.measure, NAMES)),
        Column("lost"),
        Column("seconds", rank=3),
    )
    rows = [
        (
            Cell(sparsity(point.sparsity)),
            Cell(show(point.method, NAMES)),
            Cell(percent(point.zeros / point.size) if point.size else NONE),
            _sweep_cell(study, point, None),
            Cell(spell_loss(study, find_loss(study, point))),
            Cell(f"{point.seconds:.1f}"),
        )
        for point in study.points
    ]
    return Grid(columns, tuple(rows))


def _sensitivity_grid(study: Study) -> Grid:
    largest, index = find_largest_loss(study), index_points(study)
    columns = [Column(sparsity(wanted)) for wanted in study.sparsities]
    rows = []
    for path in study.methods:
        cells = [Cell(show(path))]
        for wanted in study.sparsities:
            point = index.get((path, wanted))
            loss = find_loss(study, point)
            failed = point is not None and point.value is None
            text = FAILED if failed else spell_loss(study, loss)
            cells.append(Cell(text, "bad" if failed else "", find_heat(loss, largest)))
        rows.append(tuple(cells))
    return Grid((Column("tensor", right=False), *columns), tuple(rows))


def _explain(study: Study) -> str:
    measure = show(study.measure, NAMES)
    if study.kind == "sensitivity":
        unit = f"points of {measure}" if is_share(study) else measure
        return f"{unit} lost when this tensor alone is pruned to this sparsity"
    if study.kind == "sweep" and len(study.methods) > 1:
        return f"{measure}; the best of each sparsity is marked"
    return measure


def _failure(point: Point) -> Fact:
    reason = show(point.failure or NOT_MEASURED)
    where = f"{show(point.method, NAMES)} at {sparsity(point.sparsity)}"
    return Fact(FAILED, f"{where}: {reason}", "warning")
