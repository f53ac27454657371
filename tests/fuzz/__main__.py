"""Feeds readers of files with changed ones: `python -m tests.fuzz --seconds 120 --seed 1`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.findings import replay
from tests.fuzz.running import Outcome, Task, run
from tests.fuzz.targets import TARGETS

SHARES = {"scanner": 0.5, "archives": 0.2, "samples": 0.15, "prune": 0.15}
"""How the time is divided."""

NO_LIMIT = 1 << 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print what was found, and return 1 if that is anything."""
    options = _options().parse_args(arguments)
    chosen = [options.target] if options.target else list(SHARES)
    if options.replay:
        print(replay(TARGETS[chosen[0]](False), options.replay))
        return 0
    shares = {name: SHARES.get(name, 1.0) for name in chosen}
    outcomes = []
    for name in chosen:
        task = Task(
            target=TARGETS[name](not options.own_corpus),
            seed=options.seed,
            seconds=options.seconds * shares[name] / sum(shares.values()),
            time_limit=options.time_limit,
            inputs=options.inputs or NO_LIMIT,
            workers=options.workers,
            findings=options.findings,
        )
        outcomes.append(run(task))
        print(_line(name, options.seed, outcomes[-1]), flush=True)
    findings = [folder for outcome in outcomes for folder in outcome.findings]
    for folder in findings:
        print(f"\n{(folder / 'finding.txt').read_text()}")
    print(f"{sum(each.inputs for each in outcomes):,} inputs, {len(findings)} findings")
    return 1 if findings else 0


def _line(name: str, seed: int, outcome: Outcome) -> str:
    rate = outcome.inputs / max(outcome.seconds, 1e-9)
    share = outcome.passed / max(outcome.inputs, 1)
    return (
        f"{name}: seed {seed}, {outcome.inputs:,} inputs in {outcome.seconds:.1f} s"
        f" ({rate:.0f}/s), {share:.0%} read, {len(outcome.findings)} findings"
    )


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, in all")
    parser.add_argument("--inputs", type=int, help="how many of each target at most")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other inputs")
    parser.add_argument("--target", choices=TARGETS, help="feed this one only")
    parser.add_argument("--time-limit", type=float, default=5.0, help="seconds for one input")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--own-corpus", action="store_true", help="change what is made here only"
    )
    parser.add_argument("--findings", type=Path, default=Path(".fuzz"), help="where they go")
    parser.add_argument("--replay", type=Path, help="try the finding in this folder again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
