"""The sweep command: its reports, what an interruption leaves, and how it goes on from there."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.errors import OutputError
from onnxprune.trials.trying import Workbench
from tests.cli.started import command, environment
from tests.cli.test_check import check_one_line
from tests.cli.test_errors import files
from tests.conftest import Ran
from tests.trials.made import dividing, staircase, steps, stored

Run = Callable[..., Ran]
CPU = ["--device", "cpu", "--no-latency"]
SWEEP = ["sweep", "m.onnx", "-d", "set.npz", *CPU]
TRIED = ["--methods", "magnitude,random", "--sparsities", "0.2,50%"]
JOURNAL = "m.sweep.partial.json"
# Says when the point of half the weights is run, and takes its time then.
METRIC = """
import time
from pathlib import Path

def slow(outputs, samples):
    if (outputs["y"][:, 0] == 0).sum() == 5 and not Path("go").exists():
        Path("waiting").touch()
        time.sleep(60)
    return outputs["y"][:, 0]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    staircase(Path("m.onnx"))
    stored(Path("set.npz"), steps())
    return tmp_path


def timeless(text: str) -> Any:
    study = json.loads(text)
    points = [point | {"seconds": 0} for point in study["points"]]
    return study | {"seconds": 0, "points": points}


def test_the_table_has_a_column_for_each_method(run: Run, place: Path) -> None:
    ran = run(*SWEEP, *TRIED)
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines()[:4]]
    assert lines[0] == ["sparsity", "magnitude", "random"]
    assert lines[1][:4] == ["0", "%", "100.00", "%"]
    assert lines[2][:3] == ["20", "%", "80.00"]
    assert lines[3][:3] == ["50", "%", "50.00"]
    assert sorted(os.listdir(place)) == ["m.onnx", "set.npz"]


def test_the_defaults_are_three_methods_at_five_sparsities(run: Run, place: Path) -> None:
    study = json.loads(run(*SWEEP, "--json").out)
    assert [(point["method"], point["sparsity"]) for point in study["points"]] == [
        (method, sparsity)
        for method in ("lamp", "global", "erk")
        for sparsity in (0.5, 0.7, 0.8, 0.9, 0.95)
    ]


def test_reports_are_written_in_every_form_without_a_figure(run: Run, place: Path) -> None:
    words = [word for end in ("json", "csv", "md", "txt") for word in ("--report", f"r.{end}")]
    assert run(*SWEEP, *TRIED, "-q", *words) == (0, "", "")
    assert len(Path("r.csv").read_text().splitlines()) == 5
    assert timeless(Path("r.json").read_text())["kind"] == "sweep"
    assert not Path(JOURNAL).exists()


def test_a_point_without_numbers_is_told_and_the_sweep_goes_on(run: Run, place: Path) -> None:
    dividing(Path("div.onnx"))
    stored(Path("rest.npz"), {"x": np.eye(10, dtype=np.float32)[2:]})
    words = ["sweep", "div.onnx", "-d", "rest.npz", *CPU, "--methods", "magnitude"]
    ran = run(*words, "--sparsities", "0.1,0.3,0.2")
    assert (ran.code, ran.err) == (0, "")
    assert "the pruned model's output 'r' is NaN at sample 0" in " ".join(ran.out.split())
    points = json.loads(run(*words, "--sparsities", "0.1,0.3,0.2", "--json").out)["points"]
    assert [point["failure"] is None for point in points] == [True, True, False]


CASES: dict[str, tuple[list[str], int, str]] = {
    "unknown method": (
        [*SWEEP, "--methods", "magnitude,lmap"],
        2,
        "unknown method 'lmap'; choose one of .*; did you mean lamp?",
    ),
    "no method": ([*SWEEP, "--methods", " , "], 2, "--methods names no method"),
    "sparsity 90": (
        [*SWEEP, "--sparsities", "0.5,90"],
        2,
        "--sparsities lies in [0, 1), got 90; did you mean 0.9?",
    ),
    "sparsity a word": ([*SWEEP, "--sparsities", "half"], 2, "--sparsities is a number"),
    "no sparsity": ([*SWEEP, "--sparsities", ","], 2, "--sparsities names none"),
    "two allocations": ([*SWEEP, "--allocation", "erk", "--methods", "er"], 2, "another"),
    "nothing to prune": ([*SWEEP, "--exclude", "*"], 7, "nothing to prune"),
    "out of reach": (
        [*SWEEP, "--max-layer-sparsity", "0.3"],
        7,
        "the caps on tensors: at most 3 of 10 weights can go",
    ),
    "no data": (["sweep", "m.onnx"], 2, "nothing to run the model on"),
    "no such data": (["sweep", "m.onnx", "-d", "no.npz"], 3, "error: no.npz: no such file"),
    "no such model": (
        ["sweep", "no.onnx", "-d", "set.npz"],
        3,
        "error: no.onnx: no such file",
    ),
    "unknown device": (
        ["sweep", "m.onnx", "-d", "set.npz", "--device", "x"],
        2,
        "--device is",
    ),
    "a gate": ([*SWEEP, "--max-drop", "0.1"], 2, "no such option: --max-drop"),
    "nothing to resume": (
        [*SWEEP, "--resume"],
        2,
        f"--resume: there is no {JOURNAL}; an interrupted run leaves one",
    ),
    "journal a model": (
        [*SWEEP, "--journal", "m.onnx"],
        2,
        "--journal m.onnx is another file; name a new one",
    ),
    "journal in no folder": (
        [*SWEEP, "--journal", "no/j.json"],
        8,
        "there is no folder .*; --journal FILE names a place for finished points",
    ),
    "resume another file": (
        [*SWEEP, "--resume", "--journal", "set.npz"],
        3,
        "error: set.npz: not a journal of onnxprune",
    ),
    "report suffix": ([*SWEEP, "--report", "r.onnx"], 2, "the suffix tells the form"),
    "report on the model": (
        ["sweep", "m.json", "-d", "set.npz", "--report", "m.json"],
        2,
        "--report m.json is a file of this command; name another",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_has_its_exit_code_and_one_line(
    name: str, run: Run, place: Path
) -> None:
    words, code, message = CASES[name]
    Path("m.json").symlink_to("m.onnx")
    before = files(place)
    check_one_line(run(*words), code, message)
    assert files(place) == before


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["SIGINT", "SIGTERM"],
)
def test_an_interrupted_sweep_keeps_its_points_and_goes_on(
    number: signal.Signals, code: int, word: str, run: Run, place: Path
) -> None:
    Path("slow.py").write_text(METRIC)
    words = [*SWEEP, *TRIED, "--metric", "slow.py:slow", "--json"]
    child = subprocess.Popen(
        command(*words),
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not Path("waiting").exists():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (code, "")
    assert err == (
        f"onnxprune: 1 finished points are in {JOURNAL}; --resume goes on from them\n"
        f"onnxprune: {word}\n"
    )
    kept = json.loads(Path(JOURNAL).read_bytes())["points"]
    assert [(point["method"], point["sparsity"]) for point in kept] == [("magnitude", 0.2)]
    Path("go").touch()
    resumed = run(*words, "--resume")
    assert (resumed.code, resumed.err) == (0, "")
    assert json.loads(resumed.out)["points"][0] == kept[0]
    assert timeless(resumed.out) == timeless(run(*words).out)
    assert not Path(JOURNAL).exists()
    assert not [name for name in os.listdir(place) if name.endswith("tmp")]


def test_a_runtime_that_dies_loses_no_finished_point(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = Workbench.point, 0

    def dying(bench: Workbench, *given: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            os.kill(bench.examination.runner._child.pid, signal.SIGSEGV)
        return plain(bench, *given, **more)

    monkeypatch.setattr(Workbench, "point", dying)
    ran = run(*SWEEP, *TRIED)
    assert (ran.code, ran.out) == (9, "")
    first, second = ran.err.splitlines()
    assert first == (
        f"onnxprune: 2 finished points are in {JOURNAL}; --resume goes on from them"
    )
    assert second.startswith("onnxprune: error: ONNX Runtime died of SIGSEGV on this model")
    assert run(*SWEEP, *TRIED, "--resume", "-q") == (0, "", "")
    assert calls == 5


def test_points_stay_where_the_report_cannot_be_written(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("no space left in .")

    monkeypatch.setattr("onnxprune.report.study_files.write_whole", full)
    ran = run(*SWEEP, *TRIED, "--report", "r.md")
    assert (ran.code, ran.out) == (8, "")
    assert ran.err == (
        f"onnxprune: 4 finished points are in {JOURNAL}; --resume goes on from them\n"
        "onnxprune: error: no space left in .\n"
    )
    monkeypatch.undo()
    os.chdir(place)
    assert run(*SWEEP, *TRIED, "--report", "r.md", "--resume", "-q") == (0, "", "")
    assert Path("r.md").exists()
    assert not Path(JOURNAL).exists()


def test_a_journal_of_another_sweep_is_refused_and_kept(run: Run, place: Path) -> None:
    Path("j.json").write_text('{"journal": 1, "fingerprint": "", "points": []}')
    before = Path("j.json").read_bytes()
    ran = run(*SWEEP, "--journal", "j.json", "--resume")
    message = "error: j.json: the points of another run: model, data, options or versions"
    check_one_line(ran, 3, message)
    assert Path("j.json").read_bytes() == before


def test_the_allocation_holds_for_all_methods(run: Run, place: Path) -> None:
    words = [*SWEEP, "--methods", "magnitude", "--sparsities", "0.5", "--allocation"]
    Path("r.json").write_text('{"tensors": [{"name": "w", "zeros": 1, "size": 5}]}')
    study = json.loads(run(*words, "from:r.json", "--json").out)
    assert [point["zeros"] for point in study["points"]] == [5]
    Path("r.json").write_text('{"tensors": [{"name": "v", "zeros": 1, "size": 5}]}')
    check_one_line(run(*words, "from:r.json"), 2, "the file of ratios says nothing of 'w'")
