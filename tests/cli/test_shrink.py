"""The shrink command: what it prints, writes and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from tests import models
from tests.conftest import Ran
from tests.structure import nets
from tests.structure.cutting import TOLERANCE, apart, zero_filters

Run = Callable[..., Ran]
QUICK = ("--device", "cpu", "--no-latency", "-d", "random:2")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net half of whose filters are zero, and one with none."""
    monkeypatch.chdir(tmp_path)
    models.save(Path("m.onnx"), zero_filters(nets.residual(), 0.5))
    models.save(Path("full.onnx"), nets.residual())
    return tmp_path


def test_the_report_says_what_went_and_what_had_to_stay(run: Run, place: Path) -> None:
    ran = run(
        "shrink", "m.onnx", "-o", "s.onnx", *QUICK, "--report", "r.md", "--report", "r.html"
    )
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["stemc.w", "+1", "12", "6", "-", "-"] in lines
    assert any(line[:4] == ["y.w", "5", "5", "2"] for line in lines)
    facts = " ".join(ran.out.split())
    assert "channels 27 of 59 taken out; 2 that are zero stay" in facts
    assert "stay zero 2 (y.w): it reaches the model's output 'y'" in facts
    assert "checked onnx.checker accepts it" in facts
    assert "the same outputs, within" in ran.out
    assert "wrote s.onnx in" in facts
    assert "latency" not in ran.out
    assert apart(place / "m.onnx", place / "s.onnx", {}) <= TOLERANCE
    assert "| stemc.w +1 |" in Path("r.md").read_text()
    assert "<td" in Path("r.html").read_text()


def test_the_report_as_json(run: Run, place: Path) -> None:
    ran = run("shrink", "m.onnx", "--json", *QUICK, "--report", "r.json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found == json.loads(Path("r.json").read_text())
    assert found["channels"] == {"before": 59, "removed": 27}
    assert found["output"] == "m.shrunk.onnx"
    assert found["parameters"]["after"] < found["parameters"]["before"]
    assert found["macs"]["after"] < found["macs"]["before"]
    assert found["bytes"]["after"] == Path("m.shrunk.onnx").stat().st_size
    assert found["same"]["samples"] == 2
    assert found["latency"] is None
    group = next(each for each in found["groups"] if each["producers"] == ["y.w"])
    assert group == {
        "producers": ["y.w"],
        "before": 5,
        "after": 5,
        "zeros": 2,
        "reason": "it reaches the model's output 'y'",
    }


def test_both_models_are_timed_in_turn(run: Run, place: Path) -> None:
    ran = run("shrink", "m.onnx", "--device", "cpu", "--json")
    latency = json.loads(ran.out)["latency"]
    assert latency["runs"] >= 5
    assert latency["ratio"] == pytest.approx(latency["pruned"] / latency["dense"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["full.onnx"], 7, "no channel can be taken out; none is zero; onnxprune prune"),
        (["m.onnx", "-o", "m.onnx", "--force"], 2, "the output is the input file m.onnx"),
        (["m.onnx", "-o", "full.onnx"], 2, "full.onnx exists; --force replaces it"),
        (["m.onnx", "-o", "no/s.onnx"], 8, "there is no folder"),
        (["nothing.onnx"], 3, "nothing.onnx: no such file"),
        (["m.onnx", "--report", "r.xml"], 2, "a report without a check has no test cases"),
        (["m.onnx", "-d", "nothing.npz"], 3, "nothing.npz: no such file or folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    words: list[str], code: int, said: str, run: Run, place: Path
) -> None:
    ran = run("shrink", *words)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("onnxprune: error: ")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert not list(place.glob("*shrunk*"))
    assert len(onnx.load("m.onnx").graph.node) > 10


def test_a_program_is_no_model_for_it(run: Run, place: Path) -> None:
    import zipfile

    with zipfile.ZipFile("m.pt", "w") as archive:
        archive.writestr("m/data.pkl", b"")
    assert run("shrink", "m.pt").code in (3, 4)


def test_quiet_prints_nothing(run: Run, place: Path) -> None:
    assert run("shrink", "m.onnx", "-q", "--no-verify") == (0, "", "")
    assert Path("m.shrunk.onnx").exists()
