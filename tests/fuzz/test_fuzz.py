"""Short runs of the fuzzer, the same each time; and what it would say if something were wrong."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.conftest import ROOT
from tests.fuzz.targets import TARGETS

INPUTS = {"scanner": 2000, "archives": 2000, "samples": 2000, "prune": 150}
FOUND = {
    "raises": "KeyError: 'nothing'",
    "dies": "died of SIGSEGV",
    "hangs": "s of a processor",
    "leaks": "a file stays open",
    "grows": "MemoryError",
    "warns": "UserWarning: a user would see this",
    "leaves": "SystemExit: 0",
    "wrong code": "code 10: 'this is not said of a file'",
}


def started(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", INPUTS)
def test_a_short_run_finds_nothing(target: str, tmp_path: Path) -> None:
    limits = ("--inputs", INPUTS[target], "--seconds", 200, "--workers", 1, "--own-corpus")
    ran = started("tests.fuzz", "--target", target, "--findings", tmp_path, *limits)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == f"{INPUTS[target]:,} inputs, 0 findings"


@pytest.mark.parametrize("fault", FOUND)
def test_what_no_input_may_do_is_found_once_and_can_be_tried_again(
    fault: str, tmp_path: Path
) -> None:
    findings = ("--findings", tmp_path / "found")
    patience = 0.3 if fault == "hangs" else 5
    limits = ("--inputs", 12, "--seconds", 100, "--workers", 2, "--time-limit", patience)
    ran = started("tests.fuzz.faulty", fault, *limits, *findings)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "12 inputs, 1 findings"
    (saved,) = (tmp_path / "found").iterdir()
    assert (saved / "files" / "model.onnx").read_bytes() == b"\0"
    text = (saved / "finding.txt").read_text()
    assert FOUND[fault] in text
    assert f"--replay {saved}" in ran.stdout
    if fault not in ("dies", "hangs", "grows"):
        again = started("tests.fuzz.faulty", fault, "--replay", saved)
        assert FOUND[fault] in again.stdout


@pytest.mark.parametrize("fault", ["refuses", "reads"])
def test_what_an_input_may_do_is_no_finding(fault: str, tmp_path: Path) -> None:
    limits = ("--inputs", 30, "--seconds", 60, "--workers", 2)
    ran = started("tests.fuzz.faulty", fault, *limits, "--findings", tmp_path / "found")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "30 inputs, 0 findings"
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize("target", ["scanner", "archives", "samples"])
def test_a_seed_and_a_number_make_one_input(target: str) -> None:
    one, other = (TARGETS[target](False) for _ in range(2))
    inputs = [one.make(Random(f"{target} 3 {index}")) for index in range(50)]
    assert inputs == [other.make(Random(f"{target} 3 {index}")) for index in range(50)]
    assert len({repr(files) for files in inputs}) > 40
