"""Run commands as children and take the medians of their wall, CPU and memory figures."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
TIMEOUT = 1800.0


class CommandError(Exception):
    """A measured command did not start, did not end in time or did not exit with 0."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run took: seconds, and bytes of resident memory.

    `peak` is the largest process of the tree; `own` (the command itself) and `child` (its
    largest child) are 0 unless the run was sampled.
    """

    wall: float
    cpu: float
    peak: int
    own: int = 0
    child: int = 0


@dataclass(frozen=True, slots=True)
class Command:
    """One row of a table: what to run, where it writes, how its output is checked."""

    name: str
    argv: tuple[str, ...]
    output: Path | None = None
    zeros: Callable[[], float] | None = None
    rival: str = ""
    unavailable: str = ""


@dataclass(slots=True)
class Result:
    """The runs of one command, in order, or the reason why there are none."""

    command: Command
    runs: list[Usage] = field(default_factory=list)
    zeros: float | None = None
    failure: str = ""

    def median(self, figure: str) -> float:
        """Give the median over the runs of a field of `Usage`."""
        return statistics.median(float(getattr(run, figure)) for run in self.runs)

    def ratio(self, other: "Result") -> float:
        """Give the median over the rounds of our wall time divided by the other's."""
        pairs = zip(self.runs, other.runs, strict=True)
        return statistics.median(ours.wall / theirs.wall for ours, theirs in pairs)


def run(argv: Sequence[str], *, sample: bool = False, timeout: float = TIMEOUT) -> Usage:
    """Run a command to its end and give what it used.

    Args:
        argv: the command and its arguments; its output goes to a scratch file.
        sample: whether to read the memory of each process of the tree while it runs, which
            costs some CPU time on another core.
        timeout: seconds after which the command and its children are killed.
    """
    # Bytecode is kept, as it is where a package is installed: else each start compiles it.
    env = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(log), str(int(sample))]
        with subprocess.Popen(
            [*launch, *argv], stdout=subprocess.PIPE, start_new_session=True, env=env
        ) as child:
            try:
                out, _ = child.communicate(timeout=timeout)
            except BaseException as error:
                os.killpg(child.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise CommandError(f"not done after {timeout:g} s") from error
                raise
        said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    if not out:
        raise CommandError("the launcher died")
    report = json.loads(out)
    if "error" in report:
        raise CommandError(report["error"])
    if (code := report.pop("code")) != 0:
        raise CommandError(f"exit {code}: {said[-1] if said else 'no message'}")
    return Usage(**report)


def once(command: Command, result: Result, *, sample: bool = False) -> Usage:
    """Run a command with an empty output folder, which is deleted afterwards."""
    if command.output:
        shutil.rmtree(command.output, ignore_errors=True)
        command.output.mkdir(parents=True)
    os.sync()
    try:
        usage = run(command.argv, sample=sample)
        if result.zeros is None and command.zeros:
            result.zeros = command.zeros()
        return usage
    finally:
        if command.output:
            shutil.rmtree(command.output, ignore_errors=True)


def interleave(
    commands: Sequence[Command],
    runs: int,
    say: Callable[[str], object] = lambda text: None,
) -> dict[str, Result]:
    """Run the commands in turn, `runs` times round; one that fails is not run again.

    Each round starts one command later: what a run leaves behind in the page cache makes
    the next one faster or slower.
    """
    results = {command.name: Result(command) for command in commands}
    for round_ in range(runs):
        first = round_ % max(1, len(commands))
        for command in (*commands[first:], *commands[:first]):
            result = results[command.name]
            result.failure = result.failure or command.unavailable
            if result.failure:
                continue
            say(f"round {round_ + 1} of {runs}: {command.name}")
            try:
                result.runs.append(once(command, result))
            except (CommandError, OSError, ValueError) as error:
                result.failure = str(error)
    return results
