"""Chooses, for whatever a command found, the functions that print and write it."""

from pathlib import Path
from typing import TYPE_CHECKING

from onnxprune.outcomes import CheckReport
from onnxprune.points import Study
from onnxprune.removals import Removal
from onnxprune.types import Found, Report

if TYPE_CHECKING:
    from rich.console import Console

# Each form is imported where it is wanted: JSON should not wait for tables.


def check_suffix(path: Path, checked: bool = False, study: bool = False) -> None:
    """Refuse a report file whose form its suffix does not tell.

    Args:
        path: the file.
        checked: whether models are run.
        study: whether the report is a study's or a search's.
    """
    if study:
        from onnxprune.report.study_files import check_study_suffix

        check_study_suffix(path)
    else:
        from onnxprune.report.documents import check_suffix as check_report_suffix

        check_report_suffix(path, checked)


def print_any(found: object, console: "Console") -> None:
    """Print what a command found."""
    match found:
        case Report():
            from onnxprune.report.terminal import print_report

            print_report(found, console)
        case CheckReport():
            from onnxprune.report.check_report import print_check

            print_check(found, console)
        case Study():
            from onnxprune.report.study_report import print_study

            print_study(found, console)
        case Found():
            from onnxprune.report.found_report import print_found

            print_found(found, console)
        case Removal():
            from onnxprune.report.removal_report import print_removal

            print_removal(found, console)
        case _:
            raise _unknown(found)


def to_json(found: object) -> str:
    """Return what a command found as JSON text, in ASCII."""
    from onnxprune.report import as_json, study_json

    match found:
        case Report():
            return as_json.to_json(found)
        case CheckReport():
            return as_json.check_to_json(found)
        case Study():
            return study_json.study_to_json(found)
        case Found():
            return study_json.found_to_json(found)
        case Removal():
            from onnxprune.report.removal_report import removal_to_json

            return removal_to_json(found)
        case _:
            raise _unknown(found)


def write_any(found: object, path: Path) -> None:
    """Write what a command found in the form that the file's suffix asks for."""
    match found:
        case Report() | CheckReport() | Removal():
            from onnxprune.report.documents import write_report

            write_report(found, path)
        case Study() | Found():
            from onnxprune.report.study_files import write_study

            write_study(found, path)
        case _:
            raise _unknown(found)


def _unknown(found: object) -> TypeError:
    return TypeError(f"no report has the type {type(found).__name__}")
