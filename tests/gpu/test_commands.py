"""The commands on the GPU give what they give on the processor, and say where they ran."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import onnxprune
from tests.cli.started import started
from tests.gpu.probe import DEVICE, DIGITS, PROVIDER, SAMPLES

pytestmark = pytest.mark.gpu

ONE = 1
"""A near tie may fall the other way: by so many samples may counts differ."""


def asked(device: str, *words: object) -> dict[str, Any]:
    """Run a command on a device, in a process of its own, and return its report."""
    done = started([*words, "--data", SAMPLES, "--device", device, "--json"])
    assert (done.returncode, done.stderr) == (0, "")
    report: dict[str, Any] = json.loads(done.stdout)
    assert place_of(report)["provider"] == provider_of(device)
    return report


def provider_of(device: str) -> str:
    return PROVIDER if device == DEVICE else "CPUExecutionProvider"


def place_of(report: dict[str, Any]) -> dict[str, Any]:
    place: dict[str, Any] = report.get("place") or report["check"]["place"]
    return place


def rights(points: Sequence[dict[str, Any]]) -> list[int]:
    """Return the right answers of every point of a study."""
    return [point["measured"]["outputs"][0]["top1"]["pruned"] for point in points]


def what_was_asked(points: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    fields = ("method", "sparsity", "zeros", "size", "failure")
    return [tuple(point[field] for field in fields) for point in points]


def near(counts: Sequence[int]) -> Any:
    return pytest.approx(counts, abs=ONE)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("gpu") / "pruned.onnx"
    onnxprune.prune(DIGITS, 0.9, output=output)
    return output


def test_check_measures_what_it_measures_on_the_processor(pruned: Path) -> None:
    (here,) = asked(DEVICE, "check", DIGITS, pruned)["check"]["outputs"]
    (there,) = asked("cpu", "check", DIGITS, pruned)["check"]["outputs"]
    for field in ("dense", "pruned"):
        assert here["top1"][field] == near(there["top1"][field])
    assert here["agreed"] == near(there["agreed"])
    assert here["cosine"] == pytest.approx(there["cosine"], abs=1e-4)
    assert here["kl"] == pytest.approx(there["kl"], rel=0.02)
    assert here["max_abs"] == pytest.approx(there["max_abs"], rel=0.02)


def test_a_model_checked_against_itself_is_as_accurate_as_documented() -> None:
    check = asked(DEVICE, "check", DIGITS, DIGITS)["check"]
    (output,) = check["outputs"]
    assert output["top1"]["dense"] == near(395)
    assert output["agreed"] >= 400 - ONE
    assert output["cosine"] > 0.9999
    assert check["latency"]["dense"] > 0


def test_auto_takes_the_gpu(pruned: Path) -> None:
    done = started(["check", DIGITS, pruned, "--data", SAMPLES, "--json"])
    assert place_of(json.loads(done.stdout))["provider"] == PROVIDER


def test_the_report_for_people_names_the_provider(pruned: Path) -> None:
    done = started(["check", DIGITS, pruned, "--data", SAMPLES, "--device", DEVICE])
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ran on     {PROVIDER}, " in done.stdout


def test_prune_writes_the_same_file_whatever_the_gate_ran_on(tmp_path: Path) -> None:
    files = []
    for device in (DEVICE, "cpu"):
        output = tmp_path / f"{device}.onnx"
        report = asked(device, DIGITS, "-s", "0.9", "--max-drop", "0.02", "-o", output)
        assert report["check"]["passed"] is True
        files.append(output.read_bytes())
    assert files[0] == files[1]


def test_a_gate_that_fails_leaves_no_model_but_the_reports(tmp_path: Path) -> None:
    output, page = tmp_path / "out.onnx", tmp_path / "report.junit.xml"
    words = [DIGITS, "-s", "0.98", "--max-drop", "0.01", "-o", output, "--report", page]
    done = started([*words, "--data", SAMPLES, "--device", DEVICE, "--json"])
    assert done.returncode == 10
    assert done.stderr.startswith("onnxprune: error: accuracy fell by ")
    assert json.loads(done.stdout)["check"]["passed"] is False
    assert PROVIDER in page.read_text()
    assert not output.exists()


def test_a_sweep_has_the_same_points_as_on_the_processor(tmp_path: Path) -> None:
    words = ("sweep", DIGITS, "--methods", "lamp,global,erk", "--sparsities", "0.5,0.9,0.95")
    words += ("--journal", tmp_path / "points.json")
    here, there = (asked(device, *words) for device in (DEVICE, "cpu"))
    assert what_was_asked(here["points"]) == what_was_asked(there["points"])
    assert rights(here["points"]) == near(rights(there["points"]))
    assert here["dense"] == pytest.approx(there["dense"], abs=ONE / 400)


def test_a_point_of_a_sweep_is_what_the_file_gives(pruned: Path, tmp_path: Path) -> None:
    words = ("sweep", DIGITS, "--methods", "lamp", "--sparsities", "0.9")
    (point,) = asked(DEVICE, *words, "--journal", tmp_path / "points.json")["points"]
    (output,) = asked(DEVICE, "check", DIGITS, pruned)["check"]["outputs"]
    assert rights([point]) == near([output["top1"]["pruned"]])
    found = point["measured"]["outputs"][0]
    assert found["cosine"] == pytest.approx(output["cosine"], abs=1e-4)


def test_a_search_writes_a_model_that_is_within_its_budget(tmp_path: Path) -> None:
    output = tmp_path / "best.onnx"
    found = asked(DEVICE, "search", DIGITS, "--max-drop", "0.02", "-o", output)
    assert found["check"]["passed"] is True
    assert found["setting"] == pytest.approx(0.94, abs=0.02)
    (result,) = asked("cpu", "check", DIGITS, output)["check"]["outputs"]
    assert result["top1"]["dense"] - result["top1"]["pruned"] <= 0.02 * 400 + ONE


def test_a_sensitivity_has_the_same_points_as_on_the_processor(tmp_path: Path) -> None:
    words = ("sensitivity", DIGITS, "--sparsities", "0.5,0.9")
    words += ("--journal", tmp_path / "points.json")
    here, there = (asked(device, *words) for device in (DEVICE, "cpu"))
    assert what_was_asked(here["points"]) == what_was_asked(there["points"])
    assert rights(here["points"]) == near(rights(there["points"]))


def test_kept_outputs_of_one_device_are_not_taken_for_those_of_another(
    pruned: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for device, count in ((DEVICE, 1), ("cpu", 2), (DEVICE, 2)):
        asked(device, "check", DIGITS, pruned, "--cache", cache)
        assert len(list(cache.iterdir())) == count
