"""The progress bar: on a terminal only, and only for what takes a while."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from onnxprune.cli import meter
from onnxprune.cli.meter import Meter
from tests.conftest import Ran

Run = Callable[..., Ran]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(meter, "PATIENCE", 0)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def work(terminal: Terminal, quiet: bool = False) -> None:
    with contextlib.redirect_stderr(terminal), Meter(quiet) as told:
        for done in range(5):
            told("ranking weights", done, 4)
        told("writing", 1, 0)


def test_a_terminal_sees_what_is_being_done(terminal: Terminal) -> None:
    work(terminal)
    shown = terminal.getvalue()
    assert "ranking weights" in shown
    assert "writing" in shown
    # The bar is gone when the work is done: the last thing is to erase its lines.
    assert shown.rstrip().endswith("\x1b[2K")


def test_what_is_quick_shows_no_bar(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "PATIENCE", 60)
    work(terminal)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("reason", ["quiet", "NO_COLOR", "TERM", "log"])
def test_whoever_wants_no_bar_sees_none(
    reason: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason == "log":
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    elif reason != "quiet":
        monkeypatch.setenv(reason, "dumb")
    work(terminal, reason == "quiet")
    assert terminal.getvalue() == ""


def test_a_run_tells_how_far_it_is(
    digits: Path, terminal: Terminal, run: Run, tmp_path: Path
) -> None:
    with contextlib.redirect_stderr(terminal):
        ran = run(digits, "-s", "0.9", "--no-verify", "-o", tmp_path / "o.onnx")
    assert ran.code == 0
    assert "writing" in terminal.getvalue()
    assert "64,411" in ran.out


def test_how_work_stands_changes_within_one_bar(terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal), Meter(False) as told:
        for step in range(30):
            told(f"measuring: step {step} of 30", step, 30)
        assert len(told._tasks) == 1
    assert "measuring: step 29 of 30" in terminal.getvalue()
