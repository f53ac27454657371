"""Workers that feed a target, and a watch over them: what dies, hangs or raises is a finding."""

import faulthandler
import mmap
import os
import resource
import signal
import struct
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tests.fuzz.findings import Origin, Place, attempt, mind_warnings, save
from tests.fuzz.targets import Target

MEMORY_LIMIT = 1 << 29
"""Bytes that one input may take."""

STATE = struct.Struct("<qqddq")
"""The number of the input at work, how many are done, since when by both clocks, how many passed."""


@dataclass(frozen=True)
class Task:
    """What is to be done.

    Args:
        target: what is fed.
        seed: with the number of an input it decides what that is.
        seconds: how long; `inputs`: how many at most.
        workers: how many processes.
        time_limit: seconds of a processor that one input may take; of the clock four times that.
        findings: the folder that findings are saved in.
    """

    target: Target
    seed: int
    seconds: float
    inputs: int
    workers: int
    findings: Path
    time_limit: float


@dataclass
class Outcome:
    """What came of it.

    Args:
        inputs: how many were tried; `passed`: how many of them were read without an error.
        seconds: how long that took.
        findings: the folders of what was found.
    """

    inputs: int = 0
    passed: int = 0
    seconds: float = 0.0
    findings: list[Path] = field(default_factory=list)


def run(task: Task) -> Outcome:
    """Feed the target."""
    began = time.monotonic()
    known = set(_folders(task.findings))
    with _states(task.workers) as states:
        _watch(task, states, began + task.seconds)
        outcome = Outcome(seconds=time.monotonic() - began)
        for state in states:
            _, done, _, _, passed = state.read()
            outcome.inputs += done
            outcome.passed += passed
    outcome.findings = [each for each in _folders(task.findings) if each not in known]
    return outcome


def _folders(findings: Path) -> list[Path]:
    return sorted(findings.iterdir()) if findings.is_dir() else []


@dataclass
class _State:
    """A place in memory that a worker writes to and the watch reads."""

    memory: mmap.mmap
    offset: int
    child: int = 0

    def read(self) -> tuple[int, int, float, float, int]:
        """Return the index, how many are done, since when, and how many passed."""
        index, done, clock, processor, passed = STATE.unpack_from(self.memory, self.offset)
        return index, done, clock, processor, passed

    def write(self, index: int, done: int, passed: int) -> None:
        """Note that another input is begun."""
        clocks = time.monotonic(), time.process_time()
        STATE.pack_into(self.memory, self.offset, index, done, *clocks, passed)


@contextmanager
def _states(workers: int) -> Iterator[list[_State]]:
    with mmap.mmap(-1, workers * STATE.size) as memory:
        states = [_State(memory, number * STATE.size) for number in range(workers)]
        for number, state in enumerate(states):
            state.write(number, 0, 0)
        try:
            yield states
        finally:
            for state in states:
                if state.child:
                    os.kill(state.child, signal.SIGKILL)
                    os.waitpid(state.child, 0)


def _watch(task: Task, states: list[_State], deadline: float) -> None:
    """Start workers, start those again that end early, and end those that hang."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_fast_folder()) as folder:
        logs = [Path(folder, f"{number}.log") for number in range(len(states))]
        for state, log in zip(states, logs, strict=True):
            state.child = _start(task, state, log, deadline)
        while any(state.child for state in states):
            time.sleep(0.02)
            for state, log in zip(states, logs, strict=True):
                if not state.child:
                    continue
                ended, status = os.waitpid(state.child, os.WNOHANG)
                what = None if ended else _hangs(task, state)
                if ended:
                    state.child = 0
                    what = _ended(status)
                if what is None:
                    continue
                state.child = 0
                if what:
                    _note_death(task, state, what, log)
                    state.child = _start(task, state, log, deadline)


def _ended(status: int) -> str:
    """Say how a worker ended; nothing if it was done."""
    code = os.waitstatus_to_exitcode(status)
    if code > 0:
        raise RuntimeError("the fuzzer itself failed; what it said is above")
    return f"died of {signal.Signals(-code).name}" if code else ""


def _hangs(task: Task, state: _State) -> str | None:
    """End a worker that is at one input for too long, and say so."""
    _, _, clock, processor, _ = state.read()
    used = _processor_time(state.child) - processor
    waited = time.monotonic() - clock
    if used < task.time_limit and waited < 4 * task.time_limit:
        return None
    time.sleep(0.05)
    if state.read()[2] != clock:  # it went on, or was writing what was read
        return None
    os.kill(state.child, signal.SIGUSR1)  # it writes down where it is
    time.sleep(0.2)
    os.kill(state.child, signal.SIGKILL)
    os.waitpid(state.child, 0)
    return f"hangs\n{used:.1f} s of a processor, {waited:.1f} s in all"


def _processor_time(child: int) -> float:
    text = Path(f"/proc/{child}/stat").read_text()
    ticks = text.rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _start(task: Task, state: _State, log: Path, deadline: float) -> int:
    child = os.fork()
    if child == 0:
        _work(task, state, log, deadline)
    return child


def _work(task: Task, state: _State, log: Path, deadline: float) -> NoReturn:
    """Try one input after the other, in a process of its own."""
    code = 3
    try:
        with log.open("w") as stream, tempfile.TemporaryDirectory(dir=log.parent) as folder:
            _prepare(stream.fileno())
            index, done, _, _, passed = state.read()
            place = Place(Path(folder))
            while index < task.inputs and time.monotonic() < deadline:
                origin = Origin(task.target, task.seed, index)
                entry = place.put(origin.files())
                state.write(index, done, passed)
                found = attempt(task.target, entry)
                passed += found is None
                if isinstance(found, str):
                    save(task.findings, origin, found)
                done += 1
                index += task.workers
                state.write(index, done, passed)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing of this process may go on
        traceback.print_exc()
    os._exit(code)


def _prepare(log: int) -> None:
    """Set limits, and let a process that dies or hangs say where it was."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    faulthandler.enable(log)
    faulthandler.register(signal.SIGUSR1, log)
    mind_warnings()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    for limit, value in (
        (resource.RLIMIT_AS, used + MEMORY_LIMIT),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 1 << 26),
    ):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (value, hard))


def _note_death(task: Task, state: _State, what: str, log: Path) -> None:
    """Save the input that a worker ended at, and go on behind it."""
    index, done, _, _, passed = state.read()
    said = log.read_text(errors="replace") if log.exists() else ""
    save(task.findings, Origin(task.target, task.seed, index), f"{what}\n{said}")
    state.write(index + task.workers, done + 1, passed)


def _fast_folder() -> str | None:
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None
