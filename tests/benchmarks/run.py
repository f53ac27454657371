"""Print the benchmark's tables: `python -m tests.benchmarks.run [--quick] [--only NAME]`."""

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.benchmarks import (
    channels,
    coverage,
    hostile,
    masks,
    measure,
    native,
    peers,
    recovery,
    removal,
    suites,
    sweeps,
    tables,
)
from tests.benchmarks.figures import Figures

SUITES: dict[str, Callable[[int, suites.Say], suites.Outcome | Figures]] = {
    "help": suites.start,
    "inline": suites.inline,
    "external-1": partial(suites.external, 1),
    "external-4": partial(suites.external, 4),
    "sweep": sweeps.large,
    "sweep-small": sweeps.small,
    "variants": sweeps.variants,
    "reimport": native.speed,
    "nodes": coverage.nodes,
    "precision": masks.precision,
    "recovery": recovery.climb,
    "hostile": hostile.corpus,
    "removal": removal.remove,
    "channels": channels.compare,
}
RUNS = {
    "help": 9,
    "inline": 5,
    "external-1": 9,
    "external-4": 5,
    "sweep": 2,
    "sweep-small": 5,
    "variants": 5,
    "reimport": 15,
    "nodes": 1,
    "precision": 1,
    "recovery": 1,
    "hostile": 1,
    "removal": 1,
    "channels": 1,
}
LONG = ("external-4", "sweep", "recovery", "hostile", "channels")
NOTE = (
    "Medians over interleaved runs; best is the smallest wall time; others is the CPU time "
    "of everything else meanwhile: where it is large, wall times say little. Peak is the "
    "largest process of the tree; ratio is the wall time over that of onnxprune "
    "--no-verify with the same method, the median of the rounds. onnxprune ends with an "
    "fsync of its output; of the others only the rows that say fsync or sync do. Inner is "
    "what a command's own clock says of its work, without the start of Python; in sweeps the "
    "ratio is a row's wall time over the inner time of the passes in a child, and figures in "
    "turn are of one process that does one pass of each kind after every point."
)


def machine() -> dict[str, object]:
    """Describe where the figures come from."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "memory": memory,
        "python": platform.python_version(),
    }


def show(console: Console, outcome: suites.Outcome | Figures) -> None:
    """Print one comparison and its goals."""
    if isinstance(outcome, Figures):
        console.print(outcome.title, style="italic", markup=False, highlight=False)
        console.print(tables.figures_table(outcome))
    else:
        console.print(tables.table(outcome))
        for line in (*tables.failure_lines(outcome), *tables.process_lines(outcome)):
            console.print(line)
    for goal in outcome.goals:
        console.print(tables.goal_line(goal))
    for note in outcome.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    console.print()


def broken(outcome: suites.Outcome | Figures) -> bool:
    """Tell whether something failed to run; a peer that does not install is not a failure."""
    if isinstance(outcome, Figures):
        return outcome.failed
    return any(
        result.failure and not (name.startswith("onnxsim") and result.command.unavailable)
        for name, result in outcome.results.items()
    )


def bench(names: list[str], quick: bool, console: Console, errors: Console) -> int:
    """Run comparisons, print each as it is done and store all of them."""
    found: list[suites.Outcome | Figures] = []
    failed = False
    for name in names:
        try:
            with errors.status(name) as status:
                outcome = SUITES[name](
                    min(3, RUNS[name]) if quick else RUNS[name], status.update
                )
        except (suites.SpaceError, measure.CommandError) as problem:
            errors.print(f"{name}: not run: {problem}", style="red", markup=False)
            failed = True
            continue
        show(console, outcome)
        found.append(outcome)
        failed = failed or broken(outcome)
    if any(not isinstance(each, Figures) for each in found):
        console.print(NOTE)
    outcomes = [
        tables.figures_as_json(each) if isinstance(each, Figures) else tables.as_json(each)
        for each in found
    ]
    record = {"schema": 1, "machine": machine(), "outcomes": outcomes}
    target = peers.workplace() / "results.json"
    target.write_text(json.dumps(record, indent=1) + "\n")
    console.print(f"figures: {target.relative_to(peers.ROOT)}", markup=False)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run what it names."""
    name = "python -m tests.benchmarks.run"
    parser = argparse.ArgumentParser(prog=name, description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="3 runs, and only what is soon done"
    )
    parser.add_argument("--only", choices=SUITES, help="one comparison")
    options = parser.parse_args(arguments)
    names = [options.only] if options.only else list(SUITES)
    if options.quick and not options.only:
        names = [name for name in names if name not in LONG]
    console, errors = Console(soft_wrap=False), Console(stderr=True)
    try:
        return bench(names, options.quick, console, errors)
    finally:
        shutil.rmtree(Path(peers.BENCH, "out"), ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
