"""The ladder of recovery: its rungs are taken once, and its table says what came of them."""

import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.benchmarks import recovery

ROOT = Path(__file__).parents[2]
DENSE = 395


@pytest.fixture(scope="module")
def ladder() -> Any:
    return recovery.ladder()


def test_the_first_rungs_win_back_what_one_shot_costs(
    ladder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXPRUNE_THREADS", "1")
    model, rungs = ladder.digits()
    rows = [ladder.climb(model, rung, tmp_path, "cpu") for rung in rungs[:3]]
    assert [row["rung"] for row in rows] == ["one shot", "statistics", "refit"]
    assert all(row["dense"] == DENSE for row in rows)
    # Of 400 digits one shot at 97 % has 375 right.
    assert rows[0]["pruned"] < 380
    assert rows[2]["pruned"] >= 390
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(ladder.table_of(rows))
    assert f"{100 * (DENSE - rows[0]['pruned']) / 400:+.2f}" in console.export_text()
    before = sorted(tmp_path.glob("*.json"))
    monkeypatch.setattr(ladder.onnxprune, "prune", None)
    again = [ladder.climb(model, rung, tmp_path, "cpu") for rung in rungs[:3]]
    assert again == rows
    assert sorted(tmp_path.glob("*.json")) == before


def test_a_rival_that_is_not_installed_leaves_a_line_without_figures(
    ladder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    model, _ = ladder.digits()
    rung = ladder.Rung("SparseGPT of another", 0.5, {}, rival=True)
    row = ladder.climb(model, rung, tmp_path, "cpu")
    assert set(row) == {"model", "sparsity", "rung"}
    assert not list(tmp_path.glob("*.json"))
    assert recovery.shown(row)[3:] == ("-", "-", "-", "not here")


def test_goals_are_of_the_best_rung_of_each_kind() -> None:
    def row(rung: str, sparsity: float, pruned: int) -> dict[str, Any]:
        figures = {"dense": 3200, "pruned": pruned, "total": 4000, "seconds": 1.0}
        return {"model": "resnet20", "rung": rung, "sparsity": sparsity, **figures}

    rows = [
        row("one shot", 0.5, 3000),
        row("refit", 0.5, 3180),
        row("distill, 2 epochs", 0.5, 3204),
        row("distill, 2 epochs", 0.9, 3100),
        row(recovery.RIVAL, 0.5, 3000),
        row(recovery.OURS, 0.5, 3150),
    ]
    found = {goal.text: (goal.figure, goal.met) for goal in recovery.goals(rows)}
    assert found["points below dense at 0.5, trained"] == (-0.1, True)
    assert found["points below dense at 0.9, trained"] == (2.5, False)
    assert found["points below dense at 0.8, trained"] == (None, None)
    assert found["points below dense at 0.5, without gradients"] == (0.5, True)
    assert found["points ahead of onnxsim's SparseGPT at 0.5, uniform"] == (3.75, True)
    json.dumps([recovery.shown(each) for each in rows])


def test_the_shared_models_have_rungs_of_every_kind(ladder: Any, tmp_path: Path) -> None:
    importlib.reload(ladder)
    _, rungs = ladder.resnet(tmp_path, 7)
    names = [(rung.name, rung.sparsity) for rung in rungs]
    assert len(set(names)) == len(names)
    assert {"distill, 7 epochs", "refit", recovery.RIVAL, recovery.OURS} <= {
        n for n, _ in names
    }
    assert [model.name for model, _ in ladder.smaller(tmp_path)] == [
        *("mnist", "magika", "hand_gesture")
    ]
