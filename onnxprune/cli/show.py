"""Where output goes: results on standard output, progress and messages on standard error."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from onnxprune.errors import UsageError
from onnxprune.formats.output import check_output
from onnxprune.report.as_json import to_json
from onnxprune.report.documents import check_suffix, write_report
from onnxprune.report.terminal import print_report
from onnxprune.types import Report

PATIENCE = 1.0
PLAIN_WIDTH = 100


class _Console(Console):
    """A console that leaves it to its user what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        """Raise what the system said."""
        raise BrokenPipeError


def make_console(stderr: bool = False) -> Console:
    """Make a console that is plain wherever colours and boxes would be out of place."""
    stream = sys.stderr if stderr else sys.stdout
    dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    terminal = stream.isatty() and not dumb
    width = None if terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
    return _Console(
        file=stream,
        force_terminal=terminal,
        width=width,
        no_color=not terminal,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def check_reports(paths: Sequence[Path], others: Sequence[Path | None]) -> None:
    """Refuse report files that could not be written, before any work.

    Args:
        paths: the report files.
        others: files that the command reads or writes besides.
    """
    taken = {os.path.realpath(other) for other in others if other is not None}
    for path in paths:
        check_suffix(path)
        if os.path.realpath(path) in taken or any(_is_same(path, other) for other in taken):
            raise UsageError(f"--report {path} is a file of this command; name another")
        check_output(path, [], force=True)


def _is_same(path: Path, other: str) -> bool:
    return path.exists() and os.path.exists(other) and path.samefile(other)


def present(report: Report, as_json: bool, quiet: bool, paths: Sequence[Path]) -> None:
    """Print a report and write it to the files that were asked for."""
    for path in paths:
        write_report(report, path)
    if as_json:
        sys.stdout.write(to_json(report) + "\n")
    elif not quiet:
        print_report(report, make_console())


class Meter:
    """A progress bar on standard error, for what takes over a second on a terminal."""

    def __init__(self, quiet: bool) -> None:
        self._console = make_console(stderr=True)
        self._wanted = self._console.is_terminal and not quiet
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._tasks: dict[str, object] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far the work is."""
        if not self._wanted or time.monotonic() - self._began < PATIENCE:
            return
        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total or None)
        self._bar.update(self._tasks[what], completed=done, total=total or None)  # type: ignore[arg-type]

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
