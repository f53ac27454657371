"""Puts what the papers behind the gradient methods claim to the test, on nets of its own.

Run from the repository root: `python examples/gradients/claims.py [--quick] [--seed N]`. The data
are the digits in `calibration/`; the nets are made, trained and exported here.
"""

import argparse
import copy
import itertools
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from nets import (
    LAYERS,
    Digits,
    build_deep,
    build_small,
    export,
    load_weights,
    measure_loss,
    read_digits,
    train,
)
from rich.console import Console
from rich.table import Table
from torch import nn
from verdicts import LOSS_MODELS, Claim, Outcome, judge_gradient, judge_steps, judge_untrained

import onnxprune
from onnxprune.errors import TargetError

HARD = 0.99
PLAIN, NORMALISED = "without BN", "with BN"
SKELETONS = ("iterative_snip", "force")
ONCE = ("snip", "magnitude")
TRAINED, EARLY = "Trained", "After a tenth of its training"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried.

    Args:
        skeleton_steps: of the methods for untrained nets; `model_steps`: of the loss models.
        sparsities: of the trained nets.
        measured: samples that methods measure on.
        passes: over the training set, for the trained net; `retrained`: for a masked one.
    """

    skeleton_steps: tuple[int, ...] = (1, 20, 60)
    model_steps: tuple[int, ...] = (1, 14, 140)
    sparsities: tuple[float, ...] = (0.9, 0.95)
    measured: int = 200
    passes: int = 60
    retrained: int = 30


QUICK = Effort((1, 4), (1, 4, 14), (0.95,), 40, 10, 2)


class Bench:
    """Prunes nets and measures what is left of them.

    Args:
        digits: the training set.
        effort: how much is tried.
        seed: where each training begins.
        folder: for the files.
    """

    def __init__(self, digits: Digits, effort: Effort, seed: int, folder: Path) -> None:
        self.digits = digits
        self.effort = effort
        self.seed = seed
        self.model = folder / "net.onnx"
        self.pruned = folder / "net.pruned.onnx"
        image, labels = (
            each[: effort.measured].numpy() for each in (digits.image, digits.labels)
        )
        arrays = {"image": image, "labels": labels}
        self.trial = onnxprune.trial(arrays, batch=effort.measured, device="cpu")

    def try_untrained(self) -> Iterator[Outcome]:
        """Prune two nets that were never trained, and train what is left."""
        for name in (PLAIN, NORMALISED):
            torch.manual_seed(self.seed)
            network = build_deep(name == NORMALISED)
            export(network, self.model)
            plans = [("snip", 1), *itertools.product(SKELETONS, self.effort.skeleton_steps)]
            for method, steps in plans:
                outcome = self.prune(network, Outcome(name, method, steps, HARD))
                if outcome.alive:
                    masked = load_weights(network, self.pruned)
                    torch.manual_seed(self.seed)
                    train(masked, self.digits, self.effort.retrained)
                    loss = measure_loss(masked, self.digits)
                    outcome = replace(outcome, retrained=loss)
                yield outcome

    def try_trained(self, name: str, network: nn.Module) -> Iterator[Outcome]:
        """Prune a trained net by loss models, in few steps and in many, and by magnitude."""
        export(network, self.model)
        plans = [*itertools.product(LOSS_MODELS, self.effort.model_steps), ("magnitude", 1)]
        for (method, steps), sparsity in itertools.product(plans, self.effort.sparsities):
            yield self.prune(network, Outcome(name, method, steps, sparsity))

    def prune(self, network: nn.Module, asked: Outcome) -> Outcome:
        """Prune the file of a net; a method that finds nothing to go by leaves nothing alive."""
        try:
            report = onnxprune.prune(
                self.model,
                asked.sparsity,
                asked.method,
                steps=asked.steps if asked.method not in ONCE else None,
                bn="batch" if asked.net == NORMALISED else None,
                data=self.trial,
                output=self.pruned,
                force=True,
                verify=False,
            )
        except TargetError:
            return asked
        kept = [each.weight.size - each.tally.zeros for each in report.tensors]
        loss = measure_loss(load_weights(network, self.pruned), self.digits)
        return replace(asked, alive=sum(map(bool, kept)), smallest=min(kept), loss=loss)


def draw_untrained(outcomes: Iterable[Outcome]) -> Table:
    """Return the table of the nets that were pruned before any training."""
    table = Table(box=None)
    for name in ("net", "method"):
        table.add_column(name)
    for name in ("steps", "alive", "smallest", "loss", "after training"):
        table.add_column(name, justify="right")
    for each in outcomes:
        numbers = each.steps, f"{each.alive} of {LAYERS}", each.smallest
        losses = [spell_loss(each.loss), spell_loss(each.retrained)]
        table.add_row(each.net, each.method, *map(str, numbers), *losses)
    return table


def draw_trained(outcomes: Iterable[Outcome]) -> Table:
    """Return the table of a trained net: a row for a method, a column for a sparsity."""
    table = Table(box=None)
    table.add_column("method")
    table.add_column("steps", justify="right")
    rows: dict[tuple[str, int], dict[float, float]] = {}
    for each in outcomes:
        rows.setdefault((each.method, each.steps), {})[each.sparsity] = each.loss
    for sparsity in dict.fromkeys(each for losses in rows.values() for each in losses):
        table.add_column(f"{sparsity:.0%}", justify="right")
    for (method, steps), losses in rows.items():
        table.add_row(method, str(steps), *map(spell_loss, losses.values()))
    return table


def spell_loss(loss: float) -> str:
    """Return a loss as text."""
    return f"{loss:.4f}" if math.isfinite(loss) else "-"


def run(bench: Bench, console: Console) -> list[Claim]:
    """Print the three tables, each as soon as it is known, and return what they say."""
    effort, digits = bench.effort, bench.digits
    untrained = list(bench.try_untrained())
    console.print(f"Never trained, {HARD:.0%} pruned", draw_untrained(untrained), "", sep="\n")
    torch.manual_seed(bench.seed)
    early = build_small()
    train(early, digits, effort.passes // 10)
    network = copy.deepcopy(early)
    train(network, digits, effort.passes - effort.passes // 10)
    found = {}
    for name, each in ((TRAINED, network), (EARLY, early)):
        found[name] = list(bench.try_trained(name, each))
        title = f"{name}, loss {measure_loss(each, digits):.4f} before pruning"
        console.print(title, draw_trained(found[name]), "", sep="\n")
    return [
        *judge_untrained(untrained),
        *judge_steps(found[TRAINED]),
        judge_gradient(found[EARLY], "after a tenth of the training"),
        judge_gradient(found[TRAINED], "after all of the training"),
    ]


def main() -> None:
    """Try all of it and print tables and verdicts."""
    parser = argparse.ArgumentParser(
        description="Try what the gradient methods' papers claim."
    )
    parser.add_argument("--quick", action="store_true", help="few steps, little training")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    given = parser.parse_args()
    # Nets as small as these only lose time to a second thread.
    os.environ.setdefault("ONNXPRUNE_THREADS", "1")
    torch.set_num_threads(1)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        effort = QUICK if given.quick else Effort()
        bench = Bench(read_digits(), effort, given.seed, Path(folder))
        for claim in run(bench, console):
            console.print(f"{claim.sentence}: {claim.verdict}", soft_wrap=True)


if __name__ == "__main__":
    main()
