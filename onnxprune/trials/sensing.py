"""Sensitivity: what pruning each tensor alone costs, at several sparsities, executed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onnxprune.errors import TargetError
from onnxprune.planning import select
from onnxprune.points import Point, Study
from onnxprune.pruning import Planner, plan_weights
from onnxprune.trials.examination import Progress
from onnxprune.trials.journal import Journal, fingerprint
from onnxprune.trials.sweeping import check_sparsities, share_of
from onnxprune.trials.trial import Trial
from onnxprune.trials.trying import workbench
from onnxprune.types import Recipe

SPARSITIES = (0.5, 0.7, 0.9)


def sense_file(  # noqa: PLR0913 - a model, what to try, how
    path: Path,
    recipe: Recipe,
    sparsities: Sequence[float],
    trial: Trial,
    journal: Journal | None = None,
    progress: Progress | None = None,
    planner: Planner = plan_weights,
) -> Study:
    """Prune each selected tensor alone at every sparsity, and run what is left.

    Args:
        path: the model.
        recipe: which tensors, and what scores their weights.
        sparsities: of one tensor at a time.
        trial: on what the variants are compared.
        journal: keeps finished points, for the next time should this be interrupted.
        progress: is told how far the work is.
        planner: decides recipes.
    """
    check_sparsities(sparsities)
    with workbench(path, trial, progress, planner) as bench:
        weights = select(recipe, bench.model.weights).weights
        if not weights:
            raise TargetError("nothing to prune: no prunable weight is selected")
        done: list[Point] = []
        if journal is not None:
            done = journal.begin(fingerprint(bench, recipe, ["sensitivity"]))
        known = {(point.method, point.sparsity): point for point in done}
        wanted = [
            (weight, sparsity) for weight in weights for sparsity in sorted(set(sparsities))
        ]
        missing = sum((weight.path, sparsity) not in known for weight, sparsity in wanted)
        points: list[Point] = []
        ran = 0
        for weight, sparsity in wanted:
            point = known.get((weight.path, sparsity))
            if point is None:
                # One tensor needs no glob, and a total of its own.
                alone = replace(recipe, sparsity=sparsity, include=(), exclude=(), layer={})
                told = share_of(progress, ran, missing)
                point, _ = bench.point(weight.path, alone, [weight], told)
                ran += 1
                if journal is not None:
                    journal.add(point)
            points.append(point)
        return bench.study("sensitivity", points)
