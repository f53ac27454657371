"""Run commands as children and take the medians of their wall, CPU and memory figures."""

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
TIMEOUT = 1800.0


class CommandError(Exception):
    """A measured command did not start, did not end in time or did not exit with 0."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run took: seconds, and bytes of resident memory.

    `other` is the CPU time of everything else on the machine meanwhile. `peak` is the
    largest process of the tree; `own` (the command itself) and `child` (its largest child)
    are 0 unless the run was sampled. `inner` is what the command's own clock says, 0 if none.
    """

    wall: float
    cpu: float
    peak: int
    other: float = 0.0
    own: int = 0
    child: int = 0
    inner: float = 0.0


@dataclass(frozen=True, slots=True)
class Command:
    """One row of a table: what to run, what it reads, its own output folder, its check.

    `inner` finds in what the command prints how many seconds it says that it took; the
    ratio is our wall time over the `rival_figure` of the `rival`.
    """

    name: str
    argv: tuple[str, ...]
    source: Path | None = None
    output: Path | None = None
    zeros: Callable[[], float] | None = None
    rival: str = ""
    unavailable: str = ""
    inner: Callable[[str], float] | None = None
    rival_figure: str = "wall"


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

    def ratio(self, other: "Result", below: str = "wall") -> float:
        """Give the median over the rounds of our wall time divided by a figure of another."""
        pairs = zip(self.runs, other.runs, strict=True)
        return statistics.median(ours.wall / getattr(theirs, below) for ours, theirs in pairs)


def run(
    argv: Sequence[str],
    *,
    sample: bool = False,
    timeout: float = TIMEOUT,
    inner: Callable[[str], float] | None = None,
) -> Usage:
    """Run a command that succeeds and give what it used.

    Args:
        argv: the command and its arguments.
        sample: as in `finish`.
        timeout: as in `finish`.
        inner: finds the command's own seconds in what it prints.
    """
    code, said, usage = finish(argv, sample=sample, timeout=timeout)
    if code != 0:
        raise CommandError(f"exit {code}: {(said or 'no message').splitlines()[-1]}")
    return replace(usage, inner=inner(said) if inner else 0.0)


def finish(
    argv: Sequence[str], *, sample: bool = False, timeout: float = TIMEOUT
) -> tuple[int, str, Usage]:
    """Run a command to its end; give its exit code, what it printed and what it used.

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
        said = log.read_text(errors="replace").strip() if log.exists() else ""
    if not out:
        raise CommandError("the launcher died")
    report = json.loads(out)
    if "error" in report:
        raise CommandError(report["error"])
    code = report.pop("code")
    return code, said, Usage(**report)


def settle(command: Command) -> None:
    """Give every run the same start: nothing left to write, its input cached, memory in use.

    Where a virtual machine hands free memory back to its host, the first use of a page costs
    more than all else here does; copies of the input that are deleted at once leave pages
    that are still ours. Above 1 GiB that costs more than it steadies.
    """
    os.sync()
    if not command.source:
        return
    with command.source.open("rb", buffering=0) as file:
        buffer = bytearray(4 << 20)
        while file.readinto(buffer):
            pass
    if command.output and command.source.stat().st_size <= 1 << 30:
        copies = [command.output / f"copy{number}" for number in range(2)]
        for copy in copies:
            shutil.copyfile(command.source, copy)
        for copy in copies:
            copy.unlink()


def once(command: Command, result: Result, *, sample: bool = False) -> Usage:
    """Run a command with an empty output folder, which is deleted afterwards."""
    if command.output:
        shutil.rmtree(command.output, ignore_errors=True)
        command.output.mkdir(parents=True)
    settle(command)
    try:
        usage = run(command.argv, sample=sample, inner=command.inner)
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

    Each round has its own order, the same every time: what a run leaves behind in memory
    makes the next one faster or slower.
    """
    results = {command.name: Result(command) for command in commands}
    for round_ in range(runs):
        for command in random.Random(round_).sample(commands, len(commands)):
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
