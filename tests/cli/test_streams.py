"""Standard streams: closed, full, not UTF-8, terminals and logs; each in its own process."""

import contextlib
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.started import CODE, command, environment, started

DRY = ["-s", "0.9", "--dry-run", "--no-verify"]


def shell(line: str, model: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of bash in which `onnxprune` is the command and $MODEL the model."""
    python = shlex.join([sys.executable, "-c", CODE])
    return subprocess.run(
        ["bash", "-c", f'onnxprune() {{ {python} "$@"; }}\n{line}'],
        env=environment(MODEL=str(model), **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [("$MODEL -s 0.9 --no-verify", ""), ("$MODEL -s 0.9 --no-verify", "1"), ("methods", "1")],
    ids=["prune", "prune unbuffered", "methods unbuffered"],
)
def test_a_reader_that_leaves_is_no_error(
    words: str, unbuffered: str, digits: Path, tmp_path: Path
) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(digits.read_bytes())
    # The reader is gone before the first byte comes.
    line = f"(sleep 0.3; onnxprune {words}) | true; echo ${{PIPESTATUS[0]}}"
    ran = shell(line, model, PYTHONUNBUFFERED=unbuffered)
    assert (ran.stdout, ran.stderr) == ("0\n", "")
    pruned = tmp_path / "m.pruned.onnx"
    assert pruned.exists() == words.startswith("$")
    assert words == "methods" or pruned.stat().st_size == model.stat().st_size


def test_a_reader_of_one_line_gets_it(digits: Path) -> None:
    line = "onnxprune $MODEL -s 0.9 --dry-run --no-verify | head -1; echo ${PIPESTATUS[*]}"
    ran = shell(line, digits)
    assert ran.stdout.startswith("tensor ")
    assert ran.stdout.endswith("\n0 0\n")
    assert ran.stderr == ""


@pytest.mark.parametrize("word", ["--help", "prune"])
def test_a_full_standard_output_is_an_error(word: str, digits: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    prune = [digits, "-s", "0.9", "--no-verify", "-o", output]
    words = prune if word == "prune" else [word]
    with open("/dev/full", "w") as full:
        ran = started(words, stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 8
    reason = "No space left on device"
    assert ran.stderr == f"onnxprune: error: cannot write the report: {reason}\n"
    # The model was written before.
    assert word == "--help" or output.stat().st_size == digits.stat().st_size


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed: str, digits: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(digits.read_bytes())
    ran = shell(
        f"onnxprune $MODEL -s 0.9 --no-verify {closed}; echo code $? >$MODEL.code", model
    )
    assert (tmp_path / "m.onnx.code").read_text() == "code 0\n"
    assert ran.stderr == ""
    # No file that was opened took the place of a stream that was written to.
    assert model.read_bytes() == digits.read_bytes()
    assert (tmp_path / "m.pruned.onnx").stat().st_size == model.stat().st_size


def test_an_error_without_standard_error_keeps_its_code(digits: Path) -> None:
    assert shell("onnxprune none.onnx -s 0.5 2>&-; echo $?", digits).stdout == "3\n"


def test_an_encoding_without_our_letters_is_no_error(digits: Path, tmp_path: Path) -> None:
    model = tmp_path / "é✓.onnx"
    model.write_bytes(digits.read_bytes())
    ran = started([model, "-s", "0.9", "--no-verify"], {"PYTHONIOENCODING": "ascii"})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.isascii()
    assert "#########" in ran.stdout
    assert "\\xe9\\u2713.pruned.onnx" in ran.stdout
    assert (tmp_path / "é✓.pruned.onnx").exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"FORCE_COLOR": "1", "GITHUB_ACTIONS": "true"},
        {"NO_COLOR": "1", "LC_ALL": "C", "LANG": "C", "HOME": "/nonexistent"},
    ],
    ids=str,
)
def test_a_log_gets_plain_lines(variables: dict[str, str], digits: Path) -> None:
    ran = started([digits, *DRY], variables)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0].split()[0] == "tensor"
    assert lines[0].endswith("sparsity")
    assert re.fullmatch(r"total +71,568 .* 64,411 .*90\.0 %", lines[5])
    assert all(len(line) <= 100 and line == line.rstrip() for line in lines)
    assert "\x1b" not in ran.stdout
    assert not set("─│┃━") & set(ran.stdout)


def on_terminal(words: list[object], **variables: str) -> tuple[int, str]:
    """Run a command on a terminal and return its exit code and what it showed."""
    ours, theirs = pty.openpty()
    environ = environment(TERM="xterm", COLUMNS="80") | variables
    with subprocess.Popen(command(*words), stdout=theirs, stderr=theirs, env=environ) as child:
        os.close(theirs)
        shown = b""
        # Reading fails when the last other end is closed.
        with contextlib.suppress(OSError):
            while part := os.read(ours, 1 << 16):
                shown += part
    os.close(ours)
    return child.returncode, shown.decode()


def test_a_terminal_gets_colours_and_lines(digits: Path) -> None:
    code, shown = on_terminal([digits, *DRY])
    assert code == 0
    assert "\x1b[1m" in shown
    assert "───" in shown


@pytest.mark.parametrize(
    "variables",
    [
        {"NO_COLOR": "1", "FORCE_COLOR": "1", "GITHUB_ACTIONS": "true"},
        {"TERM": "dumb", "FORCE_COLOR": "1"},
    ],
    ids=str,
)
def test_a_terminal_that_wants_no_colour_gets_plain_lines(
    variables: dict[str, str], digits: Path
) -> None:
    code, shown = on_terminal([digits, *DRY], **variables)
    assert code == 0
    assert "\x1b" not in shown
    assert "───" not in shown
    assert "64,411" in shown
