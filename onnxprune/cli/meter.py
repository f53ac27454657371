"""Progress on standard error, for work that takes a while."""

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE = 1.0


def is_plain(stream: TextIO) -> bool:
    """Whether a stream should get neither colours nor lines that are drawn over."""
    dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return dumb or not stream.isatty()


class Meter:
    """A progress bar on standard error, for what takes over a second on a terminal."""

    def __init__(self, quiet: bool) -> None:
        self._wanted = not quiet and not is_plain(sys.stderr)
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far the work is."""
        if self._wanted and time.monotonic() - self._began >= PATIENCE:
            with self._lock:
                self._show(what, done, total)

    def _show(self, what: str, done: int, total: int) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            from onnxprune.cli.console import make_console

            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=make_console(stderr=True), transient=True)
            self._bar.start()
        name = what.partition(":")[0]
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(what, total=total or None)
        self._bar.update(
            self._tasks[name], description=what, completed=done, total=total or None
        )

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
