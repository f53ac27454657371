"""What a search tried and found, as a table, curves and facts that all forms share."""

import math

from onnxprune.points import Search
from onnxprune.report.plot import Curves, Series
from onnxprune.report.spelling import NONE, sparsity
from onnxprune.report.studies import (
    FAILED,
    NAMES,
    find_loss,
    spell_figure,
    spell_loss,
    spell_tick,
    study_facts,
)
from onnxprune.report.tables import Cell, Column, Grid
from onnxprune.report.text import Fact, count, percent, show

SPARSITY = "sparsity"
NOTHING = 0.5
"""Where no weights at all lie on a logarithmic axis."""


def search_grid(search: Search) -> Grid:
    """Return what was tried, in this order; the setting that won is marked."""
    study = search.study
    columns = (
        Column(show(search.over, NAMES), right=False),
        Column("zeros", rank=1),
        Column(show(study.measure, NAMES)),
        Column("lost"),
        Column("budget", right=False),
        Column("seconds", rank=2),
    )
    rows = []
    for at, point in enumerate(study.points):
        tone = "best" if at == search.chosen else ""
        figure = Cell(spell_figure(study, point.value), tone)
        failed = point.value is None
        share = percent(point.zeros / point.size) if point.size else NONE
        rows.append(
            (
                Cell(spell_setting(search, search.settings[at]), tone),
                Cell(share),
                Cell(FAILED, "bad") if failed else figure,
                Cell(spell_loss(study, find_loss(study, point))),
                Cell(NONE if failed else "within" if search.accepted[at] else "over"),
                Cell(f"{point.seconds:.1f}"),
            )
        )
    grid = Grid(columns, tuple(rows))
    return grid if search.budget else grid.take([1, 2, 3, 5])


def search_curves(search: Search) -> Curves:
    """Return one curve over the settings; numbers of weights lie at their logarithms."""
    study, shares = search.study, search.over == SPARSITY
    points = [
        (setting if shares else math.log2(setting or NOTHING), point.value)
        for setting, point in zip(search.settings, study.points, strict=True)
        if point.value is not None
    ]
    label = search.over if shares else f"{search.over} (logarithmic)"
    return Curves(
        (Series(show(study.measure, NAMES), tuple(sorted(points))),),
        study.dense,
        sparsity if shares else lambda place: count(0 if place < 0 else round(2**place)),
        lambda value: spell_tick(study, value),
        show(label, NAMES),
    )


def search_facts(search: Search) -> list[Fact]:
    """Say what a search found, and what decided."""
    budget = ", ".join(map(show, search.budget)) if search.budget else "none: the best wins"
    found = f"{show(search.over, NAMES)} {spell_setting(search, search.setting)}"
    lines = [Fact("found", found, "good"), Fact("budget", budget)]
    lines += [Fact("because", show(sentence, 400)) for sentence in search.sentences]
    return lines + study_facts(search.study)


def spell_setting(search: Search, setting: float) -> str:
    """Spell a setting as what was searched has it."""
    return sparsity(setting) if search.over == SPARSITY else count(round(setting))
