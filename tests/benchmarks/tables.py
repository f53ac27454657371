"""How the benchmark's figures are shown and stored."""

from typing import Any

from rich.table import Table
from rich.text import Text

from tests.benchmarks.figures import Figures
from tests.benchmarks.measure import Result
from tests.benchmarks.suites import MB, Goal, Outcome

FIGURES = ("wall", "cpu", "other", "peak")


def ratio_text(result: Result, results: dict[str, Result]) -> str:
    """Show how many times its rival's time a command takes."""
    rival = results.get(result.command.rival)
    if rival is None or rival.failure or not rival.runs:
        return "-"
    return f"{result.ratio(rival, result.command.rival_figure):.2f}"


def table(outcome: Outcome) -> Table:
    """Lay out one comparison, a command per row."""
    grid = Table(
        title=outcome.title,
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    grid.add_column("command", no_wrap=True)
    timed = any(result.command.inner for result in outcome.results.values())
    last = "inner s" if timed else "zeros"
    for heading in ("wall s", "best", "CPU s", "others", "peak MB", "ratio", last):
        grid.add_column(heading, justify="right")
    for result in outcome.results.values():
        name = Text(result.command.name)
        if result.failure:
            grid.add_row(name, "failed")
            continue
        grid.add_row(
            name,
            f"{result.median('wall'):.3f}",
            f"{min(run.wall for run in result.runs):.3f}",
            f"{result.median('cpu'):.3f}",
            f"{result.median('other'):.2f}",
            f"{result.median('peak') / MB:.0f}",
            ratio_text(result, outcome.results),
            f"{result.median('inner'):.4f}" if timed else zeros_text(result),
        )
    return grid


def figures_table(figures: Figures) -> Table:
    """Lay out figures that were measured in this process."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for at, heading in enumerate(figures.columns):
        grid.add_column(Text(heading), justify="right" if at else "left", no_wrap=not at)
    for row in figures.rows:
        grid.add_row(*map(Text, row))
    return grid


def zeros_text(result: Result) -> str:
    """Show the share of zeros in what a command wrote, if that was counted."""
    return "-" if result.zeros is None else f"{result.zeros:.6f}"


def goal_line(goal: Goal) -> Text:
    """Say what was aimed at, what was measured and whether it was met."""
    sign = ">=" if goal.at_least else "<="
    aim = f"goal {sign} {goal.limit:g} {goal.unit}".rstrip()
    if goal.figure is None:
        return Text(f"{goal.text}: not measured ({aim})", style="yellow")
    verdict, style = ("met", "green") if goal.met else ("missed", "red")
    measured = f"{goal.text}: {goal.figure:.3g} {goal.unit}, {aim}: "
    return Text(measured).append(verdict, style=style)


def failure_lines(outcome: Outcome) -> list[Text]:
    """Say why commands were not measured."""
    failed = [result for result in outcome.results.values() if result.failure]
    return [
        Text(f"{result.command.name}: not measured: {result.failure}", style="red")
        for result in failed
    ]


def process_lines(outcome: Outcome) -> list[Text]:
    """Say how the peak memory splits between our process and its largest child."""
    lines = []
    for name, usage in outcome.processes.items():
        child = f"{usage.child / MB:.0f} MB" if usage.child else "none seen"
        text = f"{name}: own process {usage.own / MB:.0f} MB, largest child {child}"
        lines.append(Text(text))
    return lines


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Give one comparison with every run, as plain values."""
    rows = []
    for label, result in outcome.results.items():
        figures = (*FIGURES, "inner") if result.command.inner else FIGURES
        runs = [{key: getattr(r, key) for key in figures} for r in result.runs]
        row: dict[str, Any] = {"command": label, "runs": runs, "zeros": result.zeros}
        if result.failure:
            row["failure"] = result.failure
        else:
            row["median"] = {key: result.median(key) for key in figures}
        if usage := outcome.processes.get(label):
            row["by_process"] = {"own": usage.own, "child": usage.child}
        rows.append(row)
    return _record(outcome, rows)


def figures_as_json(figures: Figures) -> dict[str, Any]:
    """Give figures that were measured in this process, as plain values."""
    rows = [dict(zip(figures.columns, row, strict=True)) for row in figures.rows]
    return _record(figures, rows)


def _record(found: Outcome | Figures, rows: list[dict[str, Any]]) -> dict[str, Any]:
    goals = [
        {"goal": g.text, "figure": g.figure, "limit": g.limit, "unit": g.unit, "met": g.met}
        for g in found.goals
    ]
    record = {"name": found.name, "title": found.title, "rows": rows, "goals": goals}
    return record | ({"notes": list(found.notes)} if found.notes else {})
