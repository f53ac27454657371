"""The benchmark of sweeps on models of a few kB: its baselines, its figures, its tables."""

import io
import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from rich.console import Console

from onnxprune.points import Point
from onnxprune.trials.runner import Runner
from tests.benchmarks import (
    baseline_passes,
    baseline_turns,
    baseline_variants,
    measure,
    models,
    peers,
    sweeps,
    tables,
)
from tests.benchmarks.suites import Goal, Outcome, ratio

DIGITS = peers.ROOT / "examples" / "digits" / "digits.onnx"
SAMPLES = peers.ROOT / "calibration" / "digits_test.npz"


def result(command: measure.Command, *times: tuple[float, float]) -> measure.Result:
    """Make runs of a command from pairs of wall and inner seconds."""
    runs = [measure.Usage(wall, 1.0, 9_000_000, inner=inner) for wall, inner in times]
    return measure.Result(command, runs)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_the_large_model_is_valid_and_runs(tmp_path: Path) -> None:
    path = models.resnet18(tmp_path / "resnet18.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    assert round(path.stat().st_size / 1e6, 1) == 46.7
    data = models.pictures(tmp_path / "pictures.npz", 2)
    with np.load(data) as file:
        image, labels = file["image"], file["labels"]
    assert (image.shape, labels.shape) == ((2, 3, 224, 224), (2,))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"image": image})
    assert scores.shape == (2, 1000)
    assert 1 < np.abs(scores).max() < 10_000


def test_the_large_model_is_the_same_from_the_same_seed(tmp_path: Path) -> None:
    first = models.resnet18(tmp_path / "a.onnx").read_bytes()
    assert models.resnet18(tmp_path / "b.onnx").read_bytes() == first
    assert models.resnet18(tmp_path / "c.onnx", seed=5).read_bytes() != first


def test_a_commands_own_seconds_are_read_from_what_it_prints() -> None:
    usage = measure.run(python("print('said'); print(12.5)"), inner=sweeps.last_number)
    assert usage.inner == 12.5
    assert measure.run(python("print(12.5)")).inner == 0.0


def test_a_command_that_prints_no_seconds_has_failed() -> None:
    command = measure.Command("c", python("print('none')"), inner=sweeps.last_number)
    found = measure.interleave([command], 2)["c"]
    assert "could not convert string to float: 'none'" in found.failure
    assert found.runs == []


def test_a_ratio_may_be_taken_over_a_rivals_own_seconds() -> None:
    ours = result(measure.Command("a", ()), (2.0, 1.0), (40.0, 1.0), (3.0, 1.0))
    theirs = result(measure.Command("b", ()), (9.0, 1.0), (9.0, 10.0), (9.0, 3.0))
    assert ratio(ours, theirs, "inner") == 2.0
    assert ratio(ours, measure.Result(measure.Command("b", ())), "inner") is None


def test_a_sweep_is_compared_with_the_passes_that_took_turns_with_it() -> None:
    found = {"sweep": 8.0, "child": 6.3, "plain": 8.4, "others": 2.0}
    assert sweeps.pass_note(found) == (
        "in turn: one pass takes 0.300 s in a child, 0.400 s in onnxruntime; a point of the"
        " sweep, with its share of opening the model, 0.085 s more than that in a child;"
        " others used 2 s of the processor meanwhile"
    )
    child, plain = sweeps.sweep_goals(found)
    assert (child.figure, child.met) == (pytest.approx(8 / 6.3), False)
    assert (plain.figure, plain.met) == (pytest.approx(8 / 8.4), True)


def test_plain_passes_run_after_the_dense_model_and_after_every_point(tmp_path: Path) -> None:
    journal = tmp_path / "points.json"
    seen: list[tuple[str, int]] = []

    def one(name: str, seconds: float) -> Any:
        def run() -> float:
            seen.append((name, turns.kept))
            return seconds

        return run

    turns = baseline_turns.Turns(journal, {"a": one("a", 2.0), "b": one("b", 3.0)})
    assert turns.begin("x") == []
    turns.add(Point("lamp", 0.5, 1, 2, None))
    assert seen == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert turns.seconds == {"a": 4.0, "b": 6.0}
    assert turns.aside > 0
    assert "lamp" in journal.read_text()


def test_taking_turns_gives_the_seconds_of_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(passes: int, batches: list[Any], run: Any) -> float:
        calls.append(len(batches))
        return baseline_passes.seconds_of(passes, batches, run)

    monkeypatch.setattr(baseline_turns, "seconds_of", counted)
    found = baseline_turns.take_turns(DIGITS, SAMPLES, 16, ["lamp", "erk"], [0.5])
    assert list(found) == ["sweep", "child", "plain"]
    assert all(seconds > 0 for seconds in found.values())
    # Once to warm up, then beside the dense model's pass and each of the two points.
    assert calls == [25] * 2 * 4


def test_turns_that_fail_say_why() -> None:
    with pytest.raises(measure.CommandError, match=r"^sweep in turns: .*nowhere\.onnx"):
        sweeps.turns(Path("nowhere.onnx"), SAMPLES)


def test_the_sweep_has_twenty_points_and_the_baseline_one_pass_more() -> None:
    assert len(sweeps.SPARSITIES) == len(set(sweeps.SPARSITIES)) == 10
    assert (sweeps.SPARSITIES[0], sweeps.SPARSITIES[-1]) == (0.5, 0.95)
    assert (sweeps.POINTS, sweeps.PASSES) == (20, 21)


def test_the_small_comparison_runs_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "BENCH", tmp_path)
    outcome = sweeps.small(1, lambda text: None)
    assert {name: found.failure for name, found in outcome.results.items()} == {
        sweeps.SWEEP: "",
        sweeps.CHILD: "",
        sweeps.PLAIN: "",
    }
    for found in outcome.results.values():
        (usage,) = found.runs
        assert 0 < usage.inner < usage.wall
    assert outcome.notes
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "out"]


def test_samples_are_cut_into_batches_without_their_labels() -> None:
    batches = baseline_passes.read_batches(SAMPLES, 300)
    assert [{n: a.shape for n, a in batch.items()} for batch in batches] == [
        {"image": (300, 1, 8, 8)},
        {"image": (100, 1, 8, 8)},
    ]


def test_every_pass_runs_every_batch() -> None:
    seen: list[int] = []
    batches: list[Any] = [{"x": 1}, {"x": 2}]
    baseline_passes.seconds_of(3, batches, lambda batch: seen.append(batch["x"]))
    assert seen == [1, 2] * 3


class Watched(Runner):
    """A runner that runs every session it opens, once."""

    answers: ClassVar[list[bytes]] = []

    def open(self, key: str, *rest: Any) -> dict[str, Any]:
        answer = super().open(key, *rest)
        with np.load(SAMPLES) as file:
            logits = self.run(key, {"image": file["image"][:16]})["logits"]
        self.answers.append(logits.tobytes())
        return answer


def test_both_ways_open_the_same_variants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline_variants, "Runner", Watched)
    found = []
    for way in baseline_variants.WAYS:
        Watched.answers.clear()
        assert baseline_variants.seconds_each(DIGITS, tmp_path, 3, way) > 0
        found.append(list(Watched.answers))
    assert found[0] == found[1]
    dense, half, most, half_again = found[0]
    assert half == half_again
    assert len({dense, half, most}) == 3


def test_tables_and_stored_figures_have_what_commands_say_themselves() -> None:
    command = measure.Command("sweep", (), rival="passes", inner=float, rival_figure="inner")
    passes = measure.Command("passes", (), inner=float)
    results = {"sweep": result(command, (6.0, 5.5)), "passes": result(passes, (5.0, 4.0))}
    goal = Goal("sweep / passes", 1.5, 1.15, "x")
    outcome = Outcome("sweep", "A sweep", results, (goal,), {}, ("a pass takes 4 s",))
    console = Console(width=90, record=True, file=io.StringIO())
    console.print(tables.table(outcome))
    _, heading, first, *_ = console.export_text().splitlines()
    assert heading.endswith("inner s")
    assert first.split() == ["sweep", "6.000", "6.000", "1.000", "0.00", "9", "1.50", "5.5000"]
    stored = json.loads(json.dumps(tables.as_json(outcome)))
    assert stored["rows"][0]["median"]["inner"] == 5.5
    assert stored["notes"] == ["a pass takes 4 s"]
