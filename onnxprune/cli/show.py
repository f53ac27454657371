"""Where reports go: on standard output, into files."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from onnxprune.errors import UsageError
from onnxprune.formats.output import check_output
from onnxprune.types import Report

# The forms of a report are imported where one is wanted: a pruning that prints nothing or
# JSON should not wait for tables.


def check_reports(paths: Sequence[Path], others: Sequence[Path | None]) -> None:
    """Refuse report files that could not be written, before any work.

    Args:
        paths: the report files.
        others: files that the command reads or writes besides.
    """
    if not paths:
        return
    from onnxprune.report.documents import check_suffix

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
    if paths:
        from onnxprune.report.documents import write_report

        for path in paths:
            write_report(report, path)
    if as_json:
        from onnxprune.report.as_json import to_json

        sys.stdout.write(to_json(report) + "\n")
    elif not quiet:
        from onnxprune.cli.console import make_console
        from onnxprune.report.terminal import print_report

        print_report(report, make_console())
