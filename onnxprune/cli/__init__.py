"""The command line: parses, calls one function, prints, and turns errors into exit codes."""

import contextlib
import errno
import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

from typer import Exit
from typer.exceptions import TyperException

from onnxprune.cli.words import arrange, help_text, nearest_command
from onnxprune.errors import OnnxpruneError
from onnxprune.ranked import Dismissed, company, join
from onnxprune.version import __version__

SHARED = ("prune", "sweep", "search", "sensitivity")
"""Commands that more than one process can work on."""

BUG = "this is a bug in onnxprune; --debug shows where"


class _Terminated(BaseException):
    """Somebody asked this process to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    ended: BaseException | None = None
    try:
        if arguments is None:
            signal.signal(signal.SIGTERM, _terminate)
            if not join().leads:
                _silence(debug)
        code = _run([word for word in given if word != "--debug"])
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - every end has its exit code
        if debug:
            traceback.print_exc()
        ended = _interrupt_behind(error) or error
        code = _ended(ended)
    if arguments is None:
        gc.freeze()  # else all that was loaded is looked through for cycles at the end
    return company().part(ended, code)


def _interrupt_behind(error: BaseException) -> BaseException | None:
    """Return the interrupt that was being handled when an error came: it is why all ends.

    What is cleared away may fail where the interrupt came in the middle of its making, as a
    thread that was not yet started cannot be joined.
    """
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, KeyboardInterrupt | _Terminated):
        behind = None if behind.__suppress_context__ else behind.__context__
    return behind


def _ended(error: BaseException) -> int:
    """Say in one line why the command ended, and return its exit code."""
    match error:
        case Dismissed():
            return 0
        case BrokenPipeError():
            _drop_stdout()
            return 0
        case OnnxpruneError():
            hint = f"; {error.hint}" if error.hint else ""
            _say(f"error: {_one_line(error.message + hint)}")
            return error.exit_code
        case TyperException():
            return _usage(error)
        case MemoryError():
            _say("error: this needs more memory than there is")
            return 5
        case RuntimeError() if "can't start new thread" in str(error):
            _say("error: this needs more threads, or more memory for them, than there may be")
            return 5
        case KeyboardInterrupt() | _Terminated() | SystemExit():
            from onnxprune.formats.output import remove_living

            remove_living()
            _say("terminated" if isinstance(error, _Terminated) else "interrupted")
            return 143 if isinstance(error, _Terminated) else 130
        case OSError() if error.filename is None and error.errno in (errno.EIO, errno.ENOSPC):
            _drop_stdout()
            _say(f"error: cannot write the report: {error.strerror}")
            return 8
    _say(f"error: {type(error).__name__}: {_one_line(str(error))}; {BUG}")
    return 1


def _silence(debug: bool) -> None:
    """Leave all there is to say to the process that leads."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1,) if debug else (1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _open_missing_streams() -> None:
    """Let no file that we open become standard output where a caller has closed that."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.dup(descriptor)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w")))


def _run(given: list[str]) -> int:
    if not given or given[0] in ("--help", "-h", "help"):
        sys.stdout.write(help_text())
        return 0
    if given[0] == "--version":
        sys.stdout.write(f"onnxprune {__version__}\n")
        return 0
    # The commands bring numpy and rich; the help above must not wait for them.
    from onnxprune.bounds import limiting
    from onnxprune.cli.commands import command
    from onnxprune.formats.trust import trusting

    words = arrange(given, command)
    nearest_command(words)
    if not company().leads and words[0] not in SHARED:
        return 0
    # Not `command.main`: that turns a closed pipe and an interrupt into exits of its own.
    try:
        with trusting(False), limiting(), command.make_context("onnxprune", words) as context:
            command.invoke(context)
    except Exit as ended:
        return ended.exit_code
    return 0


def _usage(error: TyperException) -> int:
    text = _one_line(error.format_message()).rstrip(".").replace(". Did you", "; did you")
    hint = "" if text.endswith("?") else "; --help lists the options"
    _say(f"error: {text[:1].lower()}{text[1:]}{hint}")
    return 2


def _one_line(text: str) -> str:
    from onnxprune.report.text import show

    return show(text.replace("\n", " "), 600)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"onnxprune: {text}\n")
        sys.stderr.flush()


def _drop_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(_: int, __: FrameType | None) -> None:
    raise _Terminated
