"""The report of `make gpu-check`: its figures, and what it says where no GPU works."""

import io
import subprocess
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from onnxprune.outcomes import Place
from tests.gpu import report
from tests.gpu.probe import DIGITS, SAMPLES


def side(provider: str, outputs: Any, latency: float = 0.002, sweep: float = 1.5) -> Any:
    return report.Side(Place(provider, 2, "1.31"), np.array(outputs), latency, sweep)


CPU = side("CPU", [[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
GPU = side("CUDA", [[3.0, 4.0], [0.0, 2.0], [0.0, 0.5]], latency=0.0005)


def printed(thing: Any) -> str:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(thing)
    return console.export_text()


def test_parity_is_the_largest_difference_and_the_worst_angle() -> None:
    assert report.parity(CPU, GPU) == (
        "parity: max abs 1 (largest output 4), lowest cosine 0.00000000,"
        " 2 of 3 decisions the same"
    )


def test_outputs_that_are_equal_are_said_to_be() -> None:
    assert report.parity(CPU, CPU).startswith("parity: max abs 0 (largest output 4), lowest ")
    assert report.parity(CPU, CPU).endswith("1.00000000, 3 of 3 decisions the same")


def test_the_table_has_both_devices_beside_each_other() -> None:
    labels = np.array([1, 1, 0])
    subject = report.Subject("toy", DIGITS, SAMPLES, np.zeros((3, 1)), labels)
    shown = printed(report.table(subject, CPU, GPU)).splitlines()
    assert [" ".join(line.split()) for line in shown] == [
        "toy",
        "CPU CUDA",
        "right answers 3 of 3 2 of 3",
        "median of a batch of 16 2.000 ms 0.500 ms",
        "sweep of 10 points 1.50 s 1.50 s",
    ]


def test_without_labels_that_mean_something_nothing_is_right() -> None:
    subject = report.Subject("toy", DIGITS, SAMPLES, np.zeros((3, 1)), None)
    assert "right" not in printed(report.table(subject, CPU, GPU))


def test_a_device_is_measured_on_all_samples() -> None:
    with np.load(SAMPLES) as file:
        subject = report.Subject("digits", DIGITS, SAMPLES, file["image"], file["labels"])
    found = report.measure(subject, "cpu")
    assert found.place.provider == "CPUExecutionProvider"
    assert found.outputs.shape == (400, 10)
    assert (found.outputs.argmax(axis=1) == subject.labels).sum() >= 394
    assert found.latency > 0
    assert found.sweep > found.latency


def test_without_a_gpu_it_says_why_in_one_line_and_that_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "why_not", lambda: "the card is in the drawer")
    assert report.main() == 0
    assert capsys.readouterr() == ("no GPU that works: the card is in the drawer\n", "")


@pytest.mark.parametrize(("ended", "code"), [(0, 0), (1, 1), (5, 1)])
def test_tests_that_fail_or_are_not_there_are_a_failure(
    ended: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def run(argv: Any, **settings: Any) -> Any:
        asked.append((argv, settings))
        return subprocess.CompletedProcess(argv, ended)

    monkeypatch.setattr(report, "why_not", lambda: "")
    monkeypatch.setattr(report.subprocess, "run", run)
    monkeypatch.setattr(report, "show", lambda console: None)
    assert report.main() == code
    ((argv, settings),) = asked
    assert argv[1:] == ("-m", "pytest", "-q", "-n", "0", "-m", "gpu", "tests/gpu")
    assert settings["cwd"] == report.ROOT
