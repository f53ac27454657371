"""Comparisons of running variants: sweeps against plain inference, injection against files."""

import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from tests.benchmarks import models, peers
from tests.benchmarks.launch import busy
from tests.benchmarks.measure import Command, CommandError, Result, interleave
from tests.benchmarks.suites import GIB, Goal, Outcome, Say, require_space

METHODS = ("lamp", "global")
SPARSITIES = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
POINTS = len(METHODS) * len(SPARSITIES)
PASSES = POINTS + 1
BATCH = 16
PICTURES = 128
LIMIT = 1.15
VARIANTS = 10
SWEEP = f"onnxprune sweep, {POINTS} points"
CHILD, PLAIN = f"{PASSES} passes in a child", f"{PASSES} passes in onnxruntime"
ASKED = ("--methods", ",".join(METHODS), "--sparsities", ",".join(map(str, SPARSITIES)))
ASKED += ("--batch", str(BATCH))


def study_seconds(said: str) -> float:
    """Find in a study as JSON how long it took, from opening the model on."""
    return float(json.loads(said)["seconds"])


def last_number(said: str) -> float:
    """Read the last line that a baseline printed."""
    return float(said.splitlines()[-1])


def sweep_command(model: Path, data: Path) -> Command:
    """Describe a sweep; like plain passes, it times no latency besides."""
    path, unavailable = peers.onnxprune()
    folder = peers.BENCH / "out" / "sweep"
    argv = (path, "sweep", str(model), "--data", str(data), *ASKED, "--device", "cpu")
    argv += ("--no-latency", "--quiet", "--json", "--journal", str(folder / "points.json"))
    command = Command(SWEEP, argv, data, folder, None, CHILD, unavailable)
    return replace(command, inner=study_seconds, rival_figure="inner")


def passes_command(name: str, way: str, model: Path, data: Path) -> Command:
    """Describe plain inference on the same samples in the same batches."""
    argv = (*peers.baseline("passes"), str(model), str(data), str(PASSES))
    argv += ("--batch", str(BATCH), "--way", way)
    command = Command(name, argv, data, rival=CHILD)
    return replace(command, inner=last_number, rival_figure="inner")


def compare(runs: int, say: Say, model: Path, data: Path) -> dict[str, Result]:
    """Run a sweep and the passes it cannot do without in turn."""
    commands = [
        sweep_command(model, data),
        passes_command(CHILD, "child", model, data),
        passes_command(PLAIN, "plain", model, data),
    ]
    return interleave(commands, runs, say)


def turns(model: Path, data: Path) -> dict[str, float]:
    """Sweep with a plain pass after every point: what slows one slows the other."""
    argv = (sys.executable, "-m", "tests.benchmarks.baseline_turns", str(model), str(data))
    before = busy() - children_seconds()
    done = subprocess.run(
        (*argv, *ASKED), cwd=peers.ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CommandError(f"sweep in turns: {(done.stderr or 'no message').splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"others": max(0.0, busy() - children_seconds() - before)}


def children_seconds() -> float:
    """Give the CPU seconds of the children that ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def pass_note(found: dict[str, float]) -> str:
    """Say what one pass takes and what a point costs on top of it."""
    more = (found["sweep"] - found["child"]) / POINTS
    return (
        f"in turn: one pass takes {found['child'] / PASSES:.3f} s in a child,"
        f" {found['plain'] / PASSES:.3f} s in onnxruntime; a point of the sweep, with its"
        f" share of opening the model, {more:.3f} s more than that in a child; others used"
        f" {found['others']:.0f} s of the processor meanwhile"
    )


def sweep_goals(found: dict[str, float]) -> tuple[Goal, ...]:
    """Compare a sweep with the passes that took turns with it."""
    return tuple(
        Goal(f"{SWEEP} / {name}, in turn", found["sweep"] / found[way], LIMIT, "x")
        for name, way in ((CHILD, "child"), (PLAIN, "plain"))
    )


def large(runs: int, say: Say) -> Outcome:
    """Sweep a model of 46.7 MB over pictures of 224 x 224."""
    require_space(GIB)
    say("making the ResNet-18")
    model = models.resnet18(peers.workplace() / "resnet18.onnx")
    data = models.pictures(peers.BENCH / f"pictures_{PICTURES}.npz", PICTURES)
    results = compare(runs, say, model, data)
    say("a sweep and passes in turn")
    found = turns(model, data)
    title = f"{POINTS}-point sweep of a 46.7 MB ResNet-18, {PICTURES} pictures of 224 px"
    return Outcome("sweep", title, results, sweep_goals(found), {}, (pass_note(found),))


def small(runs: int, say: Say) -> Outcome:
    """Sweep the digits example, whose passes take next to nothing."""
    model = peers.ROOT / "examples" / "digits" / "digits.onnx"
    data = peers.ROOT / "calibration" / "digits_test.npz"
    peers.workplace()
    results = compare(runs, say, model, data)
    say("a sweep and passes in turn")
    title = f"{POINTS}-point sweep of the digits example, 400 images of 8 px"
    return Outcome("sweep-small", title, results, (), {}, (pass_note(turns(model, data)),))


def variants(runs: int, say: Say) -> Outcome:
    """Time how long it takes until a pruned variant can run."""
    require_space(GIB)
    say("making the ResNet-18")
    model = models.resnet18(peers.workplace() / "resnet18.onnx")
    commands = []
    for name, way in (("injected", "inject"), ("written and loaded", "write")):
        folder = peers.BENCH / "out" / way
        argv = (*peers.baseline("variants"), str(model), str(folder), str(VARIANTS))
        command = Command(name, (*argv, "--way", way), model, folder, rival="injected")
        commands.append(replace(command, inner=last_number))
    results = interleave(commands, runs, say)
    title = f"{VARIANTS} variants of a 46.7 MB ResNet-18; inner is the time of one"
    return Outcome("variants", title, results, (), {})
