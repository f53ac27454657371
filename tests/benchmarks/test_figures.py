"""Benchmarks that measure in this process: their tables, goals and ratios."""

import io
import json

import pytest
import torch
from rich.console import Console

from tests.benchmarks import native, networks, run, tables
from tests.benchmarks.figures import Figures
from tests.benchmarks.suites import Goal

MADE = Figures(
    "made",
    "What [is] compared",
    ("net", "one", "two"),
    (("a [net]", "1.00", "2.00"),),
    (Goal("mean", 1.5, 1.0, "x"),),
    ("a note that says [more]",),
)


def test_figures_are_shown_with_their_goals_and_notes() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    run.show(console, MADE)
    text = console.export_text()
    for piece in (
        "What [is] compared",
        "a [net]",
        "mean: 1.5 x, goal <= 1 x: missed",
        "[more]",
    ):
        assert piece in text


def test_figures_are_stored_as_json_and_only_what_must_not_be_breaks_the_run() -> None:
    stored = json.loads(json.dumps(tables.figures_as_json(MADE)))
    assert stored["rows"] == [{"net": "a [net]", "one": "1.00", "two": "2.00"}]
    assert stored["goals"][0]["met"] is False
    assert not run.broken(MADE)
    assert run.broken(Figures("made", "", (), (), failed=True))


def test_ratios_are_taken_round_by_round_and_averaged_as_ratios_are() -> None:
    ways = {way: [2.0, 40.0, 6.0] for way in native.EXPORTS}
    timed = native.Timed({native.NATIVE: [1.0, 20.0, 1.0], **ways})
    assert timed.ratio("dynamo 20") == 2
    half = native.Timed({native.NATIVE: [2.0], **{way: [1.0] for way in native.EXPORTS}})
    assert native.mean_ratio([timed, half]) == pytest.approx(1.0)


@pytest.mark.slow
def test_an_imported_net_is_timed_beside_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    small = (lambda: networks.Tied(20, 8), lambda: torch.randint(0, 20, (2, 4)))
    monkeypatch.setitem(networks.FEEDFORWARD, "small", small)
    timed = native.time_net("small", 1)
    assert set(timed.seconds) == {native.NATIVE, *native.EXPORTS}
    assert all(len(each) == 1 and each[0] > 0 for each in timed.seconds.values())
