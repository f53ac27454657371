"""Where reports go: on standard output, into files."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from onnxprune.cli.groups import Printing
from onnxprune.errors import GateFailed, UsageError
from onnxprune.formats.output import check_output

# The forms of a report are imported where one is wanted: a pruning that prints nothing or
# JSON should not wait for tables.


def check_reports(
    printing: Printing,
    others: Sequence[Path | None],
    checked: bool = False,
    study: bool = False,
) -> None:
    """Refuse report files that could not be written, before any work.

    Args:
        printing: names the report files.
        others: files that the command reads or writes besides.
        checked: whether models are run.
        study: whether the report is a study's.
    """
    if not printing.report:
        return
    from onnxprune.report.forms import check_suffix

    taken = {os.path.realpath(other) for other in others if other is not None}
    for path in printing.report:
        check_suffix(path, checked, study)
        if os.path.realpath(path) in taken or any(_is_same(path, other) for other in taken):
            raise UsageError(f"--report {path} is a file of this command; name another")
        check_output(path, [], force=True)


def _is_same(path: Path, other: str) -> bool:
    return path.exists() and os.path.exists(other) and path.samefile(other)


@contextlib.contextmanager
def presenting(printing: Printing) -> Iterator[Callable[[object], None]]:
    """Present what a command found, also where it fails the gate."""
    found: list[object] = []
    try:
        yield found.append
    except GateFailed as failed:
        if failed.report is not None:
            present(failed.report, printing)
        raise
    for each in found:
        present(each, printing)


def present(report: object, printing: Printing) -> None:
    """Print a report and write it to the files that were asked for."""
    if not (printing.report or printing.as_json) and printing.quiet:
        return
    from onnxprune.report.forms import print_any, to_json, write_any

    for path in printing.report or []:
        write_any(report, path)
    if printing.as_json:
        sys.stdout.write(to_json(report) + "\n")
    elif not printing.quiet:
        from onnxprune.cli.console import make_console

        print_any(report, make_console())
