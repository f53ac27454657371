"""What a check showed, as a table and facts that all forms of a report share."""

import math

from onnxprune.outcomes import (
    Accuracy,
    CheckReport,
    CheckResult,
    DataFacts,
    Latency,
    Measured,
    OutputCheck,
    OwnMetric,
    Place,
)
from onnxprune.report.spelling import (
    NONE,
    change,
    cosine,
    decibels,
    duration,
    number,
    points,
    share,
)
from onnxprune.report.tables import Cell, Column, Grid
from onnxprune.report.text import (
    Fact,
    bytes_text,
    count,
    percent,
    show,
)

LABEL = 20
NAMES = 20
SENTENCE = 400
RANDOM = "RANDOM NUMBERS: these figures say nothing of accuracy"
NO_FASTER = "no faster: single zeros do not speed up"
BENEFIT = (
    "a smaller download where the file is compressed; time is saved where whole channels go,"
    " or by runtimes made for sparse weights"
)
SAME_TIME = 0.05
"""Medians that differ by less are no difference, nor are any that runs themselves scatter by."""

COLUMNS = (
    Column("output", right=False),
    Column("kind", right=False, rank=8),
    Column("top-1 dense", rank=3),
    Column("pruned", rank=2),
    Column("drop", rank=4),
    Column("top-5 dense", rank=10),
    Column("pruned", rank=9),
    Column("agree"),
    Column("KL", rank=5),
    Column("cosine", rank=1),
    Column("SQNR", rank=6),
    Column("max abs", rank=7),
)


def output_grid(measured: Measured) -> Grid:
    """Return the outputs' figures, without the columns that no output has."""
    rows = [_output_cells(output) for output in measured.outputs]
    grid = Grid(COLUMNS, tuple(tuple(Cell(text) for text in row) for row in rows), NAMES)
    kept = [at for at in range(1, len(COLUMNS)) if {row[at] for row in rows} != {NONE}]
    return grid.take(kept if rows else ())


def result_facts(result: CheckResult, smaller: bool = False) -> list[Fact]:
    """Say what a check showed, of a model with zeros or of a smaller one."""
    lines = data_warning(result.data)
    lines += _figures(result)
    for condition in result.conditions:
        word, tone = ("passed", "good") if condition.passed else ("FAILED", "bad")
        lines.append(Fact("gate", f"{word}: {show(condition.sentence, SENTENCE)}", tone))
    if result.latency is not None:
        text = latency_text(result.latency, result.place)
        if smaller:
            text = smaller_latency_text(result.latency)
        lines.append(Fact("latency", text))
    lines.append(Fact("ran on", place_text(result.place, result.data)))
    return lines


def check_facts(report: CheckReport) -> list[Fact]:
    """Say what the check of two files showed."""
    *lines, last = result_facts(report.result)
    before, after = report.zeros
    zeros = f"{percent(before)} -> {percent(after)} of prunable weights"
    lines += [Fact("zeros", zeros), Fact("file", bytes_text(report.sizes))]
    lines += [Fact("benefit", BENEFIT), last]
    return lines + warning_facts(report.result.warnings)


def warning_facts(warnings: tuple[str, ...]) -> list[Fact]:
    """Return what a user should know."""
    return [Fact("warning", show(warning), "warning") for warning in warnings]


def data_warning(data: DataFacts) -> list[Fact]:
    """Say so where figures mean nothing."""
    return [Fact("data", RANDOM, "bad")] if data.random else []


def verdict(result: CheckResult) -> str | None:
    """Return one word on the gate, if there is one."""
    if not result.conditions:
        return None
    return "passed" if result.passed else "FAILED"


def place_text(place: Place, data: DataFacts) -> str:
    """Say where models ran, and on what."""
    threads = f"{count(place.threads)} thread{'s' if place.threads != 1 else ''}"
    samples = f"{count(data.samples)} sample{'s' if data.samples != 1 else ''}"
    batches = f"in batches of {count(data.batch)}" if data.batch != 1 else "one by one"
    return (
        f"{show(place.provider, 60)}, {threads}, {show(place.engine, 30)} {show(place.runtime, 30)};"
        f" {samples} of {show(data.source)} {batches}"
    )


def latency_text(latency: Latency, place: Place) -> str:
    """Say what zeros did to the time of a batch, and no more than that."""
    times = _times(latency)
    if not latency.dense > 0 or not math.isfinite(latency.ratio):
        return times
    if abs(1 - latency.ratio) <= max(SAME_TIME, latency.spread):
        return f"{times}: {NO_FASTER} {show(place.engine, 30)}"
    return (
        f"{times}: {_difference(latency)}, which zeros alone do not explain on"
        f" {show(place.provider, 60)}"
    )


def smaller_latency_text(latency: Latency) -> str:
    """Say what the time of a batch was with channels and without them."""
    times = _times(latency)
    if not latency.dense > 0 or not math.isfinite(latency.ratio):
        return times
    if abs(1 - latency.ratio) <= SAME_TIME:
        return f"{times}: no difference"
    if abs(1 - latency.ratio) <= latency.spread:
        return f"{times}: the runs themselves differ by more"
    return f"{times}: {_difference(latency)}"


def _times(latency: Latency) -> str:
    return (
        f"{duration(latency.dense)} -> {duration(latency.pruned)} per batch of"
        f" {count(latency.batch)} (median of {count(latency.runs)}, interleaved)"
    )


def _difference(latency: Latency) -> str:
    word = "less" if latency.ratio < 1 else "more"
    return f"{percent(abs(1 - latency.ratio))} {word} time"


def _figures(result: CheckResult) -> list[Fact]:
    measured = result.measured
    lines = [] if measured.own is None else [_own(measured.own)]
    scored = next((each for each in measured.outputs if each.top1 is not None), None)
    if scored is not None and scored.top1 is not None:
        among = [each for each in measured.outputs if each.top1 is not None]
        text = _accuracy(scored.top1) + _interval(result.interval)
        lines.append(Fact("accuracy", _whose(scored, among) + text))
        if scored.top5 is not None:
            lines.append(Fact("top-5", _accuracy(scored.top5)))
    elif measured.own is None and not result.data.labelled and not result.data.random:
        lines.append(Fact("accuracy", "not known: the set has no labels"))
    deciding = [each for each in measured.outputs if each.answers]
    if deciding:
        first = scored if scored in deciding else deciding[0]
        text = _agreement(first)
        if scored is None and result.interval is not None and first.agreement is not None:
            text += f": {change(1 - first.agreement)}{_interval(result.interval)}"
        lines.append(Fact("agreement", _whose(first, deciding) + text))
    if measured.outputs and all(each.identical for each in measured.outputs):
        lines.append(Fact("outputs", "identical: every value is the same in both models"))
    return lines


def _own(own: OwnMetric) -> Fact:
    text = f"{number(own.dense, 6)} -> {number(own.pruned, 6)}"
    drop = own.dense - own.pruned
    if math.isfinite(drop) and drop:
        text += f": {number(abs(drop), 4)} {'less' if drop > 0 else 'more'}"
    return Fact(show(own.name, LABEL), text)


def _accuracy(accuracy: Accuracy) -> str:
    dense, pruned = (
        share(right / accuracy.total) for right in (accuracy.dense, accuracy.pruned)
    )
    return (
        f"{dense} -> {pruned} ({count(accuracy.dense)} -> {count(accuracy.pruned)} of"
        f" {count(accuracy.total)}): {change(accuracy.drop)}"
    )


def _agreement(output: OutputCheck) -> str:
    return (
        f"{share(output.agreement)} ({count(output.agreed)} of {count(output.answers)}"
        " decisions are the same)"
    )


def _interval(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    low, high = (f"{100 * end:.1f}" for end in interval)
    return f", 95 % interval {'0.0' if low == '-0.0' else low} to {high}"


def _whose(output: OutputCheck, among: list[OutputCheck]) -> str:
    """Name the output where there is more than one that a figure could be of."""
    return f"'{show(output.name, 60)}': " if len(among) > 1 else ""


def _output_cells(output: OutputCheck) -> list[str]:
    return [
        show(output.name),
        show(output.kind, 16),
        *_accuracy_cells(output.top1),
        NONE if output.top1 is None else points(output.top1.drop),
        *_accuracy_cells(output.top5),
        share(output.agreement),
        number(output.kl),
        cosine(output.cosine),
        decibels(output.sqnr),
        number(output.max_abs),
    ]


def _accuracy_cells(accuracy: Accuracy | None) -> list[str]:
    if accuracy is None:
        return [NONE, NONE]
    return [share(right / accuracy.total) for right in (accuracy.dense, accuracy.pruned)]
