"""The sensitivity command: its table, its file as an allocation, and how it is resumed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from onnxprune.trials.trying import Workbench
from tests.cli.test_check import check_one_line
from tests.cli.test_errors import files
from tests.conftest import Ran
from tests.trials.made import branches, needing, stored

Run = Callable[..., Ran]
CPU = ["--device", "cpu", "--no-latency"]
SENSE = ["sensitivity", "m.onnx", "-d", "set.npz", *CPU]
JOURNAL = "m.sensitivity.partial.json"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model that needs all weights of `v`, and half of those of `w`."""
    monkeypatch.chdir(tmp_path)
    branches(Path("m.onnx"))
    stored(Path("set.npz"), needing(list(range(10)), list(range(5, 10))))
    return tmp_path


def test_the_table_has_a_row_for_each_tensor(run: Run, place: Path) -> None:
    ran = run(*SENSE, "--sparsities", "0.3,0.5")
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines()[:3]]
    assert rows[0] == ["tensor", "30", "%", "50", "%"]
    # Of 15 samples 3 and 5 are lost, or none.
    assert (rows[1][0], rows[1][1]) == ("v", "20.00")
    assert "33.33" in rows[1]
    assert rows[2][:3] == ["w", "0.00", "0.00"]


def test_its_file_is_an_allocation_with_exact_totals(run: Run, place: Path) -> None:
    assert run(*SENSE, "-q", "--report", "s.json", "--report", "s.csv") == (0, "", "")
    assert not Path(JOURNAL).exists()
    words = ["m.onnx", "--allocation", "from:s.json", "--dry-run", "--json", "--no-verify"]
    for total in (0, 1, 5, 10, 17, 19):
        tensors = json.loads(run(*words, "-s", total / 20).out)["tensors"]
        zeros = {tensor["name"]: tensor["zeros"] for tensor in tensors}
        assert sum(zeros.values()) == total
        assert total > 5 or zeros == {"v": 0, "w": total}
    check_one_line(run(*words), 2, "a sensitivity does not say how much goes in all; --spars")
    Path("again.json").write_text(run(*SENSE, "--json").out)
    again = ["m.onnx", "--allocation", "from:again.json", *words[3:], "-s", "0.5"]
    first, second = json.loads(run(*words, "-s", "0.5").out), json.loads(run(*again).out)
    assert first["tensors"] == second["tensors"]


def test_what_is_included_is_tried(run: Run, place: Path) -> None:
    study = json.loads(run(*SENSE, "--include", "w", "--json").out)
    assert [(point["method"], point["sparsity"]) for point in study["points"]] == [
        ("w", 0.5),
        ("w", 0.7),
        ("w", 0.9),
    ]


def test_an_interrupted_run_goes_on(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = Workbench.point, 0

    def interrupted(*given: object, **more: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return plain(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Workbench, "point", interrupted)
    assert run(*SENSE) == (
        130,
        "",
        f"onnxprune: 2 finished points are in {JOURNAL}; --resume goes on from them\n"
        "onnxprune: interrupted\n",
    )
    check_one_line(run(*SENSE, "--resume", "-m", "random"), 3, "the points of another run")
    study = json.loads(run(*SENSE, "--resume", "--json").out)
    assert len(study["points"]) == 6
    assert calls == 7
    assert not Path(JOURNAL).exists()


CASES: dict[str, tuple[list[str], int, str]] = {
    "no such tensor": ([*SENSE, "--include", "u"], 2, "--include 'u' matches no prunable"),
    "no tensor": ([*SENSE, "--exclude", "*"], 7, "nothing to prune: no prunable weight"),
    "no sparsity": ([*SENSE, "--sparsities", ","], 2, "--sparsities names none"),
    "sparsity 90": ([*SENSE, "--sparsities", "90"], 2, "got 90; did you mean 0.9?"),
    "no data": (["sensitivity", "m.onnx"], 2, "nothing to run the model on"),
    "missing input": (
        ["sensitivity", "m.onnx", "-d", "half.npz", *CPU],
        3,
        "no array for the model's input 'b'; the set has 'a', 'labels'",
    ),
    "nothing to resume": ([*SENSE, "--resume"], 2, f"--resume: there is no {JOURNAL}"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_has_its_exit_code_and_one_line(
    name: str, run: Run, place: Path
) -> None:
    words, code, message = CASES[name]
    arrays = needing([1], [2])
    stored(Path("half.npz"), {"a": arrays["a"], "labels": arrays["labels"]})
    before = files(place)
    check_one_line(run(*words), code, message)
    assert files(place) == before
