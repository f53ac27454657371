"""What was won back, as a table and a line that all forms of a report share."""

from onnxprune.recoveries import Recovery, Standing
from onnxprune.report.spelling import NONE, number
from onnxprune.report.tables import Cell, Column, Grid
from onnxprune.report.text import Fact, count, percent, show

COLUMNS = (
    Column("recovery", right=False),
    Column("distance"),
    Column("agree", rank=1),
    Column("accuracy", rank=2),
    Column("time", rank=4),
    Column("kept", right=False, rank=3),
)
NAMES = 12
SECONDS = 10
FEW = 3


def recovery_grid(made: Recovery) -> Grid:
    """Return how the model stood before and after each step, by samples that were held out."""
    rows = [_row("dense", made.dense), _row("pruned", made.pruned)]
    for step in made.steps:
        kept = Cell("yes", "good") if step.kept else Cell("no")
        rows.append(_row(step.name, step.standing, _seconds(step.seconds), kept))
    rows.append(_row("written", made.final))
    grid = Grid(COLUMNS, tuple(rows), NAMES)
    shown = [
        at
        for at in range(1, len(COLUMNS))
        if any(row[at].text not in (NONE, "") for row in rows)
    ]
    return grid.take(shown)


def recovery_facts(made: Recovery) -> list[Fact]:
    """Say on what it was judged, what was changed, and what there is to say of each step."""
    samples = (
        f"fitted on {_counted(made.fitted, 'sample')} of {show(made.source)}, judged by"
        f" {_counted(made.held, 'other')}; distance is of {_listed(made.matched)} to the"
        " dense model, 1 being no better than the mean"
    )
    notes = [f"{step.name}: {show(step.note)}" for step in made.steps if step.note]
    lines = [Fact("recovery", text) for text in (samples, *notes)]
    verb = "holds" if made.changed == 1 else "hold"
    changed = f"{_counted(made.changed, 'tensor')} {verb} other values"
    if made.created:
        count_of = len(made.created)
        what = "1 bias was" if count_of == 1 else f"{count(count_of)} biases were"
        changed += f"; {what} added ({_listed(made.created)})"
    return [*lines, Fact("recovery", f"{changed}; computed on {show(made.device, 60)}")]


def _row(
    name: str, standing: Standing, seconds: str = "", kept: Cell | None = None
) -> tuple[Cell, ...]:
    return (
        Cell(name),
        Cell(number(standing.loss, 3) if standing.loss == standing.loss else NONE),
        Cell(NONE if standing.agreement is None else percent(standing.agreement)),
        Cell(NONE if standing.accuracy is None else percent(standing.accuracy)),
        Cell(seconds),
        kept or Cell(""),
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < SECONDS else f"{seconds:,.0f} s"


def _counted(amount: int, noun: str) -> str:
    return f"{count(amount)} {noun}{'s' if amount != 1 else ''}"


def _listed(names: tuple[str, ...]) -> str:
    """List a few names."""
    return ", ".join(show(name, 40) for name in names[:FEW]) + (
        ", …" if len(names) > FEW else ""
    )
