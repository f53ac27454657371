"""A command that is told to end: its exit code, and that nothing half done stays."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.started import command, environment

# Says when the output is being written, and takes its time then.
SLOW = '''
import time
from pathlib import Path
import numpy as np
from onnxprune import method

@method("slow", elementwise=True)
def slow(weight):
    """Keep the largest, slowly."""
    if list(Path(".").glob(".*.onnxprune-tmp")):
        Path("writing").touch()
        time.sleep(0.5)
    return np.abs(weight)
'''
SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_command_and_leaves_everything_as_it_was(
    number: signal.Signals, code: int, word: str, digits: Path, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "out.onnx").write_bytes(b"old")
    words = [digits, "-s", "0.5", "-m", "./slow.py", "-o", "out.onnx", "--force"]
    child = subprocess.Popen(
        command(*words, "--no-verify", "--report", "r.md"),
        cwd=tmp_path,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "writing").exists():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert any(name.endswith(".onnxprune-tmp") for name in os.listdir(tmp_path))
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (code, "", f"onnxprune: {word}\n")
    assert sorted(os.listdir(tmp_path)) == ["out.onnx", "slow.py", "writing"]
    assert (tmp_path / "out.onnx").read_bytes() == b"old"
