"""Sensitivity: what pruning each tensor alone costs, at several sparsities, executed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onnxprune.errors import TargetError
from onnxprune.filters import weights_for
from onnxprune.planning import select
from onnxprune.points import Point, Study
from onnxprune.pruning import Planner, plan_weights
from onnxprune.ranked import company
from onnxprune.trials.examination import Progress
from onnxprune.trials.journal import Journal, fingerprint
from onnxprune.trials.sweeping import Variant, check_sparsities, run_points
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
    company().meet()
    with workbench(path, trial, progress, planner) as bench:
        weights = select(recipe, weights_for(bench.model, recipe)).weights
        if not weights:
            raise TargetError("nothing to prune: no prunable weight is selected")
        done: list[Point] = []
        if journal is not None and company().leads:
            done = journal.begin(fingerprint(bench, recipe, ["sensitivity"]))
        # One tensor needs no glob, and a total of its own.
        alone = replace(recipe, include=(), exclude=(), layer={})
        variants: list[Variant] = [
            (weight.path, replace(alone, sparsity=sparsity), [weight])
            for weight in weights
            for sparsity in sorted(set(sparsities))
        ]
        points, _ = run_points(bench, variants, done, journal, progress)
        return bench.study("sensitivity", points)
