"""The errors a user can meet: one base class, one subclass per exit code."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

ABOUT_FILES = (3, 4, 5, 6, 7, 9)
"""Exit codes of errors that say something of a file that was read."""


class OnnxpruneError(Exception):
    """Report a problem in one line, with an optional hint on what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(OnnxpruneError):
    """A wrong option, argument or recipe."""

    exit_code = 2


class InputError(OnnxpruneError):
    """A file that is not what it should be."""

    exit_code = 3


class UnsafeError(OnnxpruneError):
    """A file that reaches for something it must not have."""

    exit_code = 4


class LimitError(OnnxpruneError):
    """A file that needs more than the limits allow."""

    exit_code = 5


class UnsupportedError(OnnxpruneError):
    """Something legal that this build cannot do."""

    exit_code = 6


class TargetError(OnnxpruneError):
    """Nothing to prune, or a target that cannot be reached."""

    exit_code = 7


class OutputError(OnnxpruneError):
    """The output cannot be written."""

    exit_code = 8


class LibraryError(OnnxpruneError):
    """A library died on this model."""

    exit_code = 9


class GateFailed(OnnxpruneError):  # noqa: N818 - a verdict, not a defect
    """The pruned model does not pass the gate."""

    exit_code = 10

    def __init__(
        self, message: str, hint: str | None = None, report: object | None = None
    ) -> None:
        super().__init__(message, hint)
        self.report = report


@contextlib.contextmanager
def about(path: Path) -> Iterator[None]:
    """Begin the message of an error with the file it is about."""
    try:
        yield
    except OnnxpruneError as error:
        if error.exit_code in ABOUT_FILES and not error.message.startswith(f"{path}: "):
            error.message = f"{path}: {error.message}"
        raise
