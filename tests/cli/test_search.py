"""The search command: what it prints and writes, and that it writes nothing where it fails."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import onnxprune
from tests.cli.test_check import check_one_line
from tests.cli.test_errors import files
from tests.conftest import Ran
from tests.trials.made import branches, needing, staircase, steps, stored

Run = Callable[..., Ran]
CPU = ["--device", "cpu", "--no-latency"]
SEARCH = ["search", "m.onnx", "-d", "set.npz", "--no-verify", *CPU]
BUDGET = ["--max-drop", "0.4", "--resolution", "0.1", "-m", "magnitude"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    staircase(Path("m.onnx"))
    stored(Path("set.npz"), steps())
    return tmp_path


def test_the_model_within_the_budget_is_written(run: Run, place: Path) -> None:
    ran = run(*SEARCH, *BUDGET)
    assert (ran.code, ran.err) == (0, "")
    words = " ".join(ran.out.split())
    assert "found sparsity 40 %" in words
    assert "budget --max-drop 0.4" in words
    assert "0.4 is within the budget: 4 of 10 samples decide (4 lost, 0 won)" in words
    assert "0.5 is over the budget: 5 of 10 samples decide (5 lost, 0 won)" in words
    assert "gate passed: accuracy fell by 40.00 points" in words
    onnxprune.prune("m.onnx", 0.4, "magnitude", output="plain.onnx", verify=False)
    assert Path("m.pruned.onnx").read_bytes() == Path("plain.onnx").read_bytes()


def test_without_a_budget_one_point_may_be_lost(run: Run, place: Path) -> None:
    staircase(Path("m.onnx"), 100)
    stored(Path("set.npz"), steps(100))
    found = json.loads(run(*SEARCH, "--json").out)
    assert (found["setting"], found["budget"]) == (0.01, ["--max-drop 0.01"])
    assert found["over"] == "sparsity"


def test_the_report_tells_what_was_tried(run: Run, place: Path) -> None:
    ran = run(*SEARCH, *BUDGET, "-o", "o.onnx", "-q", "--report", "r.json", "--report", "r.md")
    assert ran == (0, "", "")
    found = json.loads(Path("r.json").read_text())
    assert found["settings"] == [0.5, 0.2, 0.3, 0.4]
    assert found["accepted"] == [False, True, True, True]
    assert found["report"]["output"] == "o.onnx"
    assert "within" in Path("r.md").read_text()


def test_a_confident_search_stays_further_from_the_budget(run: Run, place: Path) -> None:
    plain = json.loads(run(*SEARCH, *BUDGET, "--json").out)
    sure = json.loads(run(*SEARCH, *BUDGET, "--json", "--confident", "--force").out)
    assert 0 < sure["setting"] < plain["setting"]


def test_the_weights_to_keep_are_searched_at_a_sparsity(run: Run, place: Path) -> None:
    branches(Path("m.onnx"), 10, 30, scale=1 / 64)
    stored(Path("set.npz"), needing(list(range(10)), [], (10, 30)))
    words = [*SEARCH, "--over", "min-kept", "-s", "0.25"]
    ran = run(*words)
    assert (ran.code, ran.err) == (0, "")
    assert "accuracy 1.0000 where every tensor keeps 10 weights" in " ".join(ran.out.split())
    found = json.loads(run(*words, "--json", "--force").out)
    assert (found["setting"], found["over"], found["budget"]) == (10, "min-kept", [])
    assert found["report"]["recipe"]["method"] == "global"
    assert found["report"]["recipe"]["min_kept"] == 10


CASES: dict[str, tuple[list[str], int, str]] = {
    "impossible budget": (
        [*SEARCH, "--resolution", "0.1"],
        7,
        "already sparsity 0.1 is over the budget: accuracy fell by 10.00 points .*;"
        " a larger budget, or a method that loses less",
    ),
    "output exists": ([*SEARCH, *BUDGET, "-o", "old.onnx"], 2, "old.onnx exists; --force"),
    "output is input": ([*SEARCH, *BUDGET, "-o", "m.onnx", "--force"], 2, "the input file"),
    "output in no folder": ([*SEARCH, *BUDGET, "-o", "no/o.onnx"], 8, "there is no folder"),
    "a sparsity": ([*SEARCH, "-s", "0.5"], 2, "search finds the sparsity itself; --over min-"),
    "over something else": ([*SEARCH, "--over", "seed"], 2, "--over is sparsity or min-kept"),
    "min-kept without": ([*SEARCH, "--over", "min-kept"], 2, "min-kept needs --sparsity"),
    "resolution": ([*SEARCH, "--resolution", "0.6"], 2, "--resolution lies in [0.0001, 0.5]"),
    "resolution a word": ([*SEARCH, "--resolution", "fine"], 2, "'--resolution'"),
    "confident of nothing": (
        [*SEARCH, "--confident", "--min-agreement", "0.5"],
        2,
        "--confident goes with --max-drop",
    ),
    "no labels": (
        ["search", "m.onnx", "-d", "random", *CPU],
        2,
        "--max-drop needs labels or --metric; the set has neither; --min-agreement and",
    ),
    "unknown method": (
        [*SEARCH, "-m", "lmap"],
        2,
        "unknown method 'lmap'.*did you mean lamp?",
    ),
    "no data": (["search", "m.onnx"], 2, "nothing to run the model on"),
    "no such model": (
        ["search", "no.onnx", "-d", "set.npz"],
        3,
        "error: no.onnx: no such file",
    ),
    "no such data": (["search", "m.onnx", "-d", "no.npz"], 3, "error: no.npz: no such file"),
    "report suffix": ([*SEARCH, "--report", "r.onnx"], 2, "the suffix tells the form"),
    "report on the output": (
        [*SEARCH, "-o", "o.json", "--report", "o.json"],
        2,
        "--report o.json is a file of this command; name another",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_has_its_exit_code_and_one_line(
    name: str, run: Run, place: Path
) -> None:
    words, code, message = CASES[name]
    Path("old.onnx").write_bytes(b"old")
    before = files(place)
    check_one_line(run(*words), code, message)
    assert files(place) == before
