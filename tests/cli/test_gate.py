"""The gate on the command line: exit code 10, the sentence, the report, and what is written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_check import check_one_line
from tests.cli.test_errors import files
from tests.conftest import Ran
from tests.trials.made import dividing, staircase, steps, stored

Run = Callable[..., Ran]
CPU = ["--device", "cpu", "--no-latency"]
PRUNE = ["m.onnx", "-s", "0.3", "-m", "magnitude", "--no-verify"]
DATA = ["-d", "set.npz", *CPU]
FAILING = ["--max-drop", "0.2"]
SENTENCE = (
    "onnxprune: error: accuracy fell by 30.00 points (100.00 % -> 70.00 %: 3 of 10),"
    " --max-drop 0.2 allows 20.00\n"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    staircase(Path("m.onnx"))
    stored(Path("set.npz"), steps())
    return tmp_path


def test_a_failed_gate_writes_nothing_and_says_by_how_much(run: Run, place: Path) -> None:
    before = files(place)
    ran = run(*PRUNE, *DATA, *FAILING)
    assert (ran.code, ran.err) == (10, SENTENCE)
    words = " ".join(ran.out.split())
    assert "accuracy 100.00 % -> 70.00 %" in words
    assert "gate FAILED: accuracy fell by 30.00 points" in words
    assert "wrote nothing: the gate failed" in words
    assert files(place) == before


def test_an_existing_output_stays_even_with_force(run: Run, place: Path) -> None:
    Path("o.onnx").write_bytes(b"old")
    words = [*PRUNE, *DATA, *FAILING, "-o", "o.onnx", "--force"]
    assert run(*words, "-q") == (10, "", SENTENCE)
    assert Path("o.onnx").read_bytes() == b"old"
    assert run(*words, "-q", "--keep-failed") == (10, "", SENTENCE)
    kept = Path("o.onnx").read_bytes()
    assert run(*PRUNE, "-o", "plain.onnx", "-q").code == 0
    assert kept == Path("plain.onnx").read_bytes()


def test_exactly_at_the_limit_passes(run: Run, place: Path) -> None:
    ran = run(*PRUNE, *DATA, "--max-drop", "0.3", "--min-agreement", "70%")
    assert (ran.code, ran.err) == (0, "")
    assert "passed: accuracy fell by 30.00 points" in " ".join(ran.out.split())
    assert Path("m.pruned.onnx").exists()


def test_reports_are_written_though_the_gate_failed(run: Run, place: Path) -> None:
    words = ["--report", "r.md", "--report", "r.json", "--report", "r.xml"]
    ran = run(*PRUNE, *DATA, *FAILING, "--json", *words)
    assert (ran.code, ran.err) == (10, SENTENCE)
    found = json.loads(ran.out)
    assert found == json.loads(Path("r.json").read_text())
    assert found["output"] is None
    assert found["check"]["passed"] is False
    assert "30.00 points" in Path("r.md").read_text()
    assert 'failures="1"' in Path("r.xml").read_text()
    assert not Path("m.pruned.onnx").exists()


def test_check_has_the_same_gate(run: Run, place: Path) -> None:
    assert run(*PRUNE, "-o", "p.onnx", "-q").code == 0
    before = files(place)
    ran = run("check", "m.onnx", "p.onnx", *DATA, *FAILING)
    assert (ran.code, ran.err) == (10, SENTENCE)
    assert "70.00 %" in ran.out
    assert files(place) == before
    passing = run("check", "m.onnx", "p.onnx", *DATA, "--max-drop", "0.3", "-q")
    assert passing == (0, "", "")


def test_the_shipped_model_fails_where_too_much_goes(
    run: Run, place: Path, digits: Path
) -> None:
    data = digits.parents[2] / "calibration" / "digits_test.npz"
    words = [
        digits,
        "-d",
        data,
        *CPU,
        "--max-drop",
        "0.01",
        "-o",
        "o.onnx",
        "-q",
        "--no-verify",
    ]
    failed = run(*words, "-s", "0.99")
    assert (failed.code, failed.out) == (10, "")
    assert failed.err.startswith("onnxprune: error: accuracy fell by ")
    assert failed.err.endswith(" of 400), --max-drop 0.01 allows 1.00\n")
    assert not Path("o.onnx").exists()
    assert run(*words, "-s", "0.7") == (0, "", "")
    assert Path("o.onnx").exists()


def test_a_dry_run_measures_without_writing(run: Run, place: Path) -> None:
    before = files(place)
    dry = run(*PRUNE, *DATA, "--dry-run", "--json")
    assert dry.code == 0
    assert files(place) == before
    real = run(*PRUNE, *DATA, "--json")
    measured = [json.loads(ran.out)["check"] for ran in (dry, real)]
    assert measured[0] == measured[1]
    assert measured[0]["pruned"] == 0.7
    failed = run(*PRUNE, *DATA, *FAILING, "--dry-run", "-o", "x.onnx", "-q")
    assert failed == (10, "", SENTENCE)
    assert not Path("x.onnx").exists()


def test_the_samples_of_check_are_those_the_gate_runs_on(run: Run, place: Path) -> None:
    arrays = steps()
    stored(Path("last.npz"), {name: array[5:] for name, array in arrays.items()})
    ran = run(*PRUNE, "--check", "last.npz", *CPU, *FAILING, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["check"]["data"]["samples"] == 5


def test_a_gate_of_another_kind_has_its_own_sentence(run: Run, place: Path) -> None:
    ran = run(*PRUNE, *DATA, "--min-accuracy", "0.75", "--min-agreement", "0.8", "-q")
    assert (ran.code, ran.out) == (10, "")
    assert ran.err == (
        "onnxprune: error: accuracy 70.00 % is below --min-accuracy 0.75 by 5.00 points;"
        " agreement 70.00 % is below --min-agreement 0.8 by 10.00 points\n"
    )


def test_applying_a_mask_knows_no_gate(run: Run, place: Path) -> None:
    assert run(*PRUNE, "-o", "p.onnx", "-q").code == 0
    assert run("mask", "apply", "m.onnx", "p.onnx", "-q", "--no-verify") == (0, "", "")
    assert Path("m.pruned.onnx").read_bytes() == Path("p.onnx").read_bytes()
    refused = run("mask", "apply", "m.onnx", "p.onnx", "--max-drop", "0.1")
    check_one_line(refused, 2, "no such option: --max-drop")


CASES: dict[str, tuple[list[str], int, str]] = {
    "gate without data": (
        [*PRUNE, *FAILING],
        2,
        "a gate needs samples to run the models on; --data SET names them",
    ),
    "gate without labels": (
        [*PRUNE, "-d", "plain.npz", *CPU, *FAILING],
        2,
        "--max-drop needs labels or --metric; the set has neither",
    ),
    "gate of a word": ([*PRUNE, *DATA, "--max-kl", "low"], 2, "--max-kl takes a number"),
    "pruned only NaN": (
        ["div.onnx", *PRUNE[1:], "-d", "plain.npz", *CPU],
        3,
        "the pruned model's output 'r' is NaN at sample 0",
    ),
    "data missing": ([*PRUNE, "-d", "no.npz"], 3, "no.npz: no such file or folder"),
    "unknown device": ([*PRUNE, "-d", "set.npz", "--device", "x"], 2, "--device is one of"),
    "report suffix": ([*PRUNE, *DATA, "--report", "r.csv"], 2, "the suffix tells the form"),
    "report on the output": (
        [*PRUNE, *DATA, "-o", "o.json", "--report", "o.json"],
        2,
        "--report o.json is a file of this command",
    ),
    "output exists": ([*PRUNE, *DATA, "-o", "div.onnx"], 2, "div.onnx exists; --force"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_has_its_exit_code_and_one_line(
    name: str, run: Run, place: Path
) -> None:
    words, code, message = CASES[name]
    dividing(Path("div.onnx"))
    stored(Path("plain.npz"), {"x": steps()["x"]})
    before = files(place)
    check_one_line(run(*words), code, message)
    assert files(place) == before
