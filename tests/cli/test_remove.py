"""The option --remove: what it prints, writes and refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from tests import models
from tests.conftest import Ran
from tests.structure import nets
from tests.structure.cutting import tensors_of

Run = Callable[..., Ran]
QUICK = ("--no-verify", "--method", "magnitude", "--allocation", "uniform")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a residual net."""
    monkeypatch.chdir(tmp_path)
    models.save(Path("m.onnx"), nets.residual())
    return tmp_path


def test_the_report_says_what_went_and_what_had_to_stay(run: Run, place: Path) -> None:
    words = ("--report", "r.md", "--report", "r.html", "--device", "cpu", "--no-latency")
    ran = run("m.onnx", "--remove", "-s", "0.5", *QUICK[1:], *words)
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["stemc.w", "+1", "12", "6", "-", "-"] in lines
    assert any(line[:3] == ["y.w", "5", "5"] for line in lines)
    assert "filters are zero, and with them values of biases" in ran.out
    assert re.search(r"^channels +\d\d of 59 taken out$", ran.out, re.M)
    assert "widths " in ran.out
    assert "the same outputs, within" in ran.out
    assert "wrote       m.pruned.onnx in" in ran.out
    assert "what was taken out is not computed any more" in ran.out
    assert "| stemc.w +1 |" in Path("r.md").read_text()
    assert "stemc.w +1" in Path("r.html").read_text()


def test_the_report_as_json(run: Run, place: Path) -> None:
    ran = run("m.onnx", "--remove", "-s", "0.5", *QUICK, "--json", "--report", "r.json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found == json.loads(Path("r.json").read_text())
    assert found["recipe"]["remove"] is True
    assert found["recipe"]["pattern"] == "filters"
    removal = found["removal"]
    assert removal["channels"]["removed"] > 0
    assert removal["output"] == found["output"] == "m.pruned.onnx"
    assert removal["parameters"]["after"] < removal["parameters"]["before"]
    assert removal["macs"]["after"] < removal["macs"]["before"]
    assert found["bytes"]["after"] == Path("m.pruned.onnx").stat().st_size
    assert found["bytes"]["before"] == Path("m.onnx").stat().st_size
    # Nobody looked at a model that was not verified.
    assert removal["same"] is None
    assert any(each.startswith("not verified") for each in found["warnings"])


def test_both_models_are_timed_without_a_check(run: Run, place: Path) -> None:
    ran = run("m.onnx", "--remove", "-s", "0.5", *QUICK[1:], "--device", "cpu", "--json")
    found = json.loads(ran.out)
    assert found["check"] is None
    assert found["removal"]["latency"]["runs"] >= 5
    assert found["removal"]["same"]["source"] == "random:16"


def test_a_recipe_may_ask_for_it(run: Run, place: Path) -> None:
    Path("r.toml").write_text("remove = true\nsparsity = 0.5\nchannel_multiple = 4\n")
    ran = run("m.onnx", "--recipe", "r.toml", *QUICK, "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    made = tensors_of(onnx.load("m.pruned.onnx"))
    assert made["stemc.w"].dims[0] in (4, 8)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--pattern", "2:4"], 2, "--remove takes out whole filters, and --pattern 2:4"),
        (["--pattern", "unstructured", "-s", "0.5"], 2, "--remove takes out whole filters"),
        (
            ["-s", "0.5", "--storage", "sparse"],
            2,
            "a model that loses channels is written dense",
        ),
        (["-s", "0"], 7, "no channel can be taken out; none is zero"),
        (["-s", "0.99"], 7, "the largest feasible sparsity is"),
        (["-s", "0.5", "-o", "m.onnx", "--force"], 2, "the output is the input file"),
        (["-s", "0.5", "-o", "there.onnx"], 2, "there.onnx exists; --force replaces it"),
        (["-s", "0.5", "-o", "out.pt"], 2, ".pt"),
    ],
)
def test_what_is_refused_leaves_nothing(
    words: list[str], code: int, said: str, run: Run, place: Path
) -> None:
    Path("there.onnx").write_bytes(b"old")
    ran = run("m.onnx", "--remove", *QUICK, *words)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert Path("there.onnx").read_bytes() == b"old"
    assert sorted(each.name for each in place.iterdir()) == ["m.onnx", "there.onnx"]


def test_bodies_that_are_not_followed_are_named(run: Run, place: Path) -> None:
    models.save(Path("r.onnx"), nets.recurrent())
    ran = run("r.onnx", "--remove", "-s", "0.5", *QUICK)
    assert ran.code == 0
    assert "stay zero" in ran.out
    assert "LSTM 'lstm' is not followed" in " ".join(ran.out.split())


def test_a_search_takes_out_what_it_found(run: Run, digits: Path, place: Path) -> None:
    data = Path(__file__).parents[2] / "calibration" / "digits_test.npz"
    ran = run(
        *(
            "search",
            digits,
            "--remove",
            "-d",
            data,
            "--max-drop",
            "0.02",
            "--resolution",
            "0.25",
        ),
        *("-o", "best.onnx", "--no-latency", "--device", "cpu", "--json"),
    )
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["report"]["removal"]["channels"]["removed"] > 0
    checked = run("check", digits, "best.onnx", "-d", data, "--no-latency", "--json")
    assert json.loads(checked.out)["check"]["pruned"] == found["check"]["pruned"]
