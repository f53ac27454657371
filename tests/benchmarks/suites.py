"""Comparisons of pruning: which commands run on which model, and what they should reach."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks import models, peers
from tests.benchmarks.measure import Command, CommandError, Result, Usage, interleave, once

SPARSITY = 0.9
MB = 1_000_000
GIB = 1 << 30
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that was measured and the limit it should keep; `figure` None: not measured."""

    text: str
    figure: float | None
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Say whether the limit was kept."""
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


@dataclass(frozen=True, slots=True)
class Outcome:
    """One comparison as measured."""

    name: str
    title: str
    results: dict[str, Result]
    goals: tuple[Goal, ...]
    processes: dict[str, Usage]
    notes: tuple[str, ...] = ()


class SpaceError(Exception):
    """The disk has too little room for a comparison."""


def require_space(need: int) -> None:
    """Refuse to start what would fill the disk."""
    free = shutil.disk_usage(peers.workplace()).free
    if free < need:
        raise SpaceError(f"{need / GIB:.1f} GiB of disk needed, {free / GIB:.1f} GiB free")


def prune(name: str, model: Path, *options: str, count: Callable[[Path], float]) -> Command:
    """Describe a run of our command on a model; `name` ends in the method."""
    path, unavailable = peers.onnxprune()
    method = name.split()[1]
    folder = peers.BENCH / "out" / name.replace(" ", "_")
    output = folder / "out.onnx"
    ask = (path, str(model), "--sparsity", str(SPARSITY), "--method", method)
    argv = (*ask, "-o", str(output), "--force", *options)
    rival = f"onnxprune {method} --no-verify"
    data = model.with_suffix(".data")
    source = data if data.exists() else model
    return Command(name, argv, source, folder, partial(count, output), rival, unavailable)


def figure(result: Result | None, field: str) -> float | None:
    """Give the median of a field where there is one."""
    return result.median(field) if result and result.runs and not result.failure else None


def ratio(first: Result, second: Result, below: str = "wall") -> float | None:
    """Give the ratio of wall time and a figure where both ran to the end."""
    failed = first.failure or second.failure or not (first.runs and second.runs)
    return None if failed else first.ratio(second, below)


def by_process(results: dict[str, Result], say: Say) -> dict[str, Usage]:
    """Run our commands once more, not timed, to see the memory of each process."""
    found: dict[str, Usage] = {}
    for name, result in results.items():
        if name.startswith("onnxprune") and result.runs and not result.failure:
            say(f"memory by process: {name}")
            try:
                found[name] = once(result.command, result, sample=True)
            except CommandError as error:
                result.failure = str(error)
    return found


def start(runs: int, say: Say) -> Outcome:
    """Time how long the help takes to appear."""
    path, unavailable = peers.onnxprune()
    name = "onnxprune --help"
    command = Command(name, (path, "--help"), unavailable=unavailable)
    results = interleave([command], runs, say)
    goal = Goal(f"{name}, wall", figure(results[name], "wall"), 0.25, "s")
    return Outcome("help", "Start", results, (goal,), {})


def rivals(model: Path) -> list[Command]:
    """Describe the other tools' runs on the model with inline data."""
    script, reason = peers.onnxsim()
    runs = [
        ("torch lamp", (*peers.baseline("torch"), "--method", "lamp"), ""),
        ("torch global", (*peers.baseline("torch"), "--method", "global"), ""),
        ("onnxsim global", script, reason),
    ]
    commands = []
    for name, argv, unavailable in runs:
        folder = peers.BENCH / "out" / name.replace(" ", "_")
        output = folder / "out.onnx"
        rival = f"onnxprune {name.split()[1]} --no-verify"
        check = partial(models.zeros_in_model, output)
        full = (*argv, str(model), str(output))
        commands.append(Command(name, full, model, folder, check, rival, unavailable))
    return commands


def inline(runs: int, say: Say) -> Outcome:
    """Compare with torch and onnxsim on 26.2 M parameters inside the model file."""
    require_space(GIB)
    say("making the 26 M model")
    model = models.mlp_26m(peers.workplace() / "mlp_26m.onnx")
    names = ("onnxprune lamp", "onnxprune global")
    commands = [
        prune(f"{n} --no-verify", model, "--no-verify", count=models.zeros_in_model)
        for n in names
    ]
    commands += [prune(name, model, count=models.zeros_in_model) for name in names]
    results = interleave(commands + rivals(model), runs, say)
    lamp, plain = (results[f"{name} --no-verify"] for name in names)
    sim = results["onnxsim global"]
    goals = [Goal("onnxprune lamp --no-verify, CPU", figure(lamp, "cpu"), 1.0, "s")]
    for result in (lamp, plain):
        text = f"onnxsim global / {result.command.name}, wall"
        goals.append(Goal(text, ratio(sim, result), 8.0, "x", at_least=True))
    title = "26.2 M parameters, data inside the 105 MB model file, 90 % sparsity"
    return Outcome("inline", title, results, tuple(goals), by_process(results, say))


def copies(data: Path) -> list[Command]:
    """Describe the bare loops and `cp` over an external data file."""
    constant = repr(models.threshold(data, SPARSITY))
    loop = (*peers.baseline("bare"), str(data))
    rival = "onnxprune lamp --no-verify"
    commands = []
    for name, before, after in (
        ("bare loop", loop, (constant,)),
        ("bare loop, fsync", loop, (constant, "--fsync")),
        ("cp", ("cp", str(data)), ()),
    ):
        folder = peers.BENCH / "out" / name.replace(", ", "_").replace(" ", "_")
        output = folder / "out.data"
        argv = (*before, str(output), *after)
        commands.append(Command(name, argv, data, folder, None, rival))
    folder = peers.BENCH / "out" / "cp_sync"
    line = 'cp "$1" "$2" && sync "$2"'
    argv = ("sh", "-c", line, "sh", str(data), str(folder / "out.data"))
    return [*commands, Command("cp, sync", argv, data, folder, None, rival)]


def external(gib: int, runs: int, say: Say) -> Outcome:
    """Compare with a bare loop and with `cp` on one external data file."""
    require_space(round((2 if models_exist(gib) else 3) * gib * GIB * 1.1))
    say(f"making the {gib} GiB model")
    model = models.external(peers.workplace() / f"external_{gib}gib.onnx", gib, 64 * gib)
    data = model.with_suffix(".data")

    def count(output: Path) -> float:
        (found,) = [path for path in output.parent.iterdir() if path != output]
        return models.zeros_in_data(found)

    commands = [
        prune("onnxprune lamp --no-verify", model, "--no-verify", count=count),
        prune("onnxprune lamp", model, count=count),
        *copies(data),
    ]
    results = interleave(commands, runs, say)
    ours = results["onnxprune lamp --no-verify"]
    goals = []
    for name in ("bare loop, fsync", "bare loop") if gib == 1 else ():
        text = f"onnxprune lamp --no-verify / {name}, wall"
        goals.append(Goal(text, ratio(ours, results[name]), 2.0, "x"))
    for name in ("onnxprune lamp --no-verify", "onnxprune lamp"):
        peak = figure(results[name], "peak")
        goals.append(Goal(f"{name}, peak", None if peak is None else peak / MB, 200.0, "MB"))
    title = f"{gib} GiB of weights in one external data file, 90 % sparsity"
    processes = by_process(results, say)
    return Outcome(f"external-{gib}", title, results, tuple(goals), processes)


def models_exist(gib: int) -> bool:
    """Tell whether the external model of this size was made before."""
    return (peers.BENCH / f"external_{gib}gib.onnx").exists()
