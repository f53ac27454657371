"""A sweep and plain inference in turn: after every point, the same samples without pruning."""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from onnxprune.points import Point
from onnxprune.recipe import make_recipe
from onnxprune.studying import run_sweep
from onnxprune.trials.journal import Journal
from onnxprune.trials.runner import Runner
from onnxprune.trials.trial import make_trial
from tests.benchmarks.baseline_passes import plain_session, read_batches, seconds_of

Pass = Callable[[], float]


class Turns(Journal):
    """A journal that lets plain passes run where a sweep has finished one of its own.

    Args:
        path: the journal's file.
        passes: what runs all samples once and says how long that took, by name.
    """

    def __init__(self, path: Path, passes: Mapping[str, Pass]) -> None:
        super().__init__(path, resume=False)
        self.passes = passes
        self.seconds = dict.fromkeys(passes, 0.0)
        self.aside = 0.0

    def begin(self, fingerprint: str) -> list[Point]:
        """Go on from nothing, after the dense model's pass."""
        done = super().begin(fingerprint)
        self.run()
        return done

    def add(self, point: Point) -> None:
        """Keep a point, after its pass."""
        super().add(point)
        self.run()

    def run(self) -> None:
        """Run one plain pass of each kind; none of it counts as the sweep's."""
        began = time.perf_counter()
        for name, run in self.passes.items():
            self.seconds[name] += run()
        self.aside += time.perf_counter() - began


def take_turns(
    model: Path, data: Path, batch: int, methods: Sequence[str], sparsities: Sequence[float]
) -> dict[str, float]:
    """Sweep a model, and return the seconds of the sweep and of the passes beside it."""
    batches = read_batches(data, batch)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runner = stack.enter_context(Runner("cpu"))
        runner.open("dense", model)
        ways = {"child": partial(runner.run, "dense"), "plain": plain_session(model)}
        passes = {name: partial(seconds_of, 1, batches, run) for name, run in ways.items()}
        for run in passes.values():
            run()
        turns = Turns(folder / "points.json", passes)
        trial = make_trial(data, device="cpu", batch=batch, latency=False)
        began = time.perf_counter()
        run_sweep(model, trial, methods, sparsities, make_recipe({}), turns)
        whole = time.perf_counter() - began
    return {"sweep": whole - turns.aside, **turns.seconds}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--methods", required=True)
    parser.add_argument("--sparsities", required=True)
    given = parser.parse_args()
    found = take_turns(
        given.model,
        given.data,
        given.batch,
        given.methods.split(","),
        [float(word) for word in given.sparsities.split(",")],
    )
    print(json.dumps(found))
