"""What `--device` does where no GPU works: no silent run on the processor."""

import json
from pathlib import Path

import pytest

from tests.cli.started import started
from tests.gpu.probe import DEVICE, DIGITS, SAMPLES, why_not

COMMANDS = {
    "prune": (DIGITS, "-s", "0.5"),
    "check": ("check", DIGITS, DIGITS),
    "sweep": ("sweep", DIGITS),
    "search": ("search", DIGITS, "--max-drop", "0.01"),
    "sensitivity": ("sensitivity", DIGITS),
}
REFUSED = "--device cuda: ONNX Runtime has no working GPU here, only the processor"


@pytest.fixture(autouse=True)
def no_gpu() -> None:
    if not why_not():
        pytest.skip("a GPU works here")


@pytest.mark.parametrize("name", COMMANDS)
def test_cuda_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "out.onnx") if name in ("prune", "search") else ()
    words = (*COMMANDS[name], *output, "--data", SAMPLES, "--device", DEVICE, "--json")
    done = started(words, cwd=tmp_path)
    assert done.returncode == 6
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"onnxprune: error: {DIGITS}: {REFUSED}; ")
    assert list(tmp_path.iterdir()) == []


def test_auto_runs_on_the_processor_and_says_so() -> None:
    words = ("check", DIGITS, DIGITS, "--data", SAMPLES, "--device", "auto", "--json")
    done = started([*words, "--no-latency"])
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["check"]["place"]["provider"] == "CPUExecutionProvider"


def test_the_reason_is_that_of_the_error() -> None:
    assert why_not().startswith(f"{REFUSED}; ")
    assert "no reason given" not in why_not()
