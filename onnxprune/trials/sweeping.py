"""Sweeps: accuracy against sparsity for several methods, resumed where one was interrupted."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from onnxprune.errors import UsageError
from onnxprune.points import Point, Study
from onnxprune.pruning import Planner, plan_weights
from onnxprune.recipe import make_recipe
from onnxprune.trials.examination import Progress
from onnxprune.trials.journal import Journal, fingerprint
from onnxprune.trials.trial import Trial
from onnxprune.trials.trying import Workbench, workbench
from onnxprune.types import Recipe

METHODS = ("lamp", "global", "erk")
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)


def sweep_file(  # noqa: PLR0913 - a model, what to try, how
    path: Path,
    recipe: Recipe,
    methods: Sequence[str],
    sparsities: Sequence[float],
    trial: Trial,
    journal: Journal | None = None,
    progress: Progress | None = None,
    planner: Planner = plan_weights,
) -> Study:
    """Run a model with every method at every sparsity.

    Args:
        path: the model.
        recipe: everything but method and sparsity.
        methods: names of methods or allocations; `method+allocation` for both.
        sparsities: zeros over prunable weights.
        trial: on what the variants are compared.
        journal: keeps finished points, for the next time should this be interrupted.
        progress: is told how far the work is.
        planner: decides recipes.
    """
    check_sweep(methods, sparsities)
    recipes = [
        (label, variant_of(recipe, label, sparsity))
        for label in dict.fromkeys(methods)
        for sparsity in sorted(set(sparsities))
    ]
    with workbench(path, trial, progress, planner) as bench:
        # All that can be wrong with a recipe is wrong before the first hour is spent.
        for label in dict.fromkeys(methods):
            bench.plan(variant_of(recipe, label, min(sparsities)))
        done: list[Point] = []
        if journal is not None:
            done = journal.begin(fingerprint(bench, recipe))
        points, last = run_points(bench, recipes, done, journal, progress)
        latency = bench.latency() if last else None
        return bench.study("sweep", points, latency=latency)


def variant_of(recipe: Recipe, label: str, sparsity: float) -> Recipe:
    """Return a recipe with another method and sparsity, and its own allocation if named."""
    method, _, allocation = label.partition("+")
    named = make_recipe({"method": method, "allocation": allocation or recipe.allocation})
    return replace(recipe, method=named.method, allocation=named.allocation, sparsity=sparsity)


def run_points(
    bench: Workbench,
    recipes: Sequence[tuple[str, Recipe]],
    done: Sequence[Point],
    journal: Journal | None,
    progress: Progress | None,
) -> tuple[list[Point], bool]:
    """Run what is not done yet; return all points, and whether any was run now."""
    known = {(point.method, point.sparsity): point for point in done}
    points: list[Point] = []
    ran = 0
    missing = sum((label, recipe.sparsity) not in known for label, recipe in recipes)
    for label, recipe in recipes:
        point = known.get((label, recipe.sparsity or 0.0))
        if point is None:
            told = share_of(progress, ran, missing)
            point, _ = bench.point(label, recipe, progress=told)
            ran += 1
            if journal is not None:
                journal.add(point)
        points.append(point)
    return points, ran > 0


def share_of(progress: Progress | None, ran: int, missing: int) -> Progress | None:
    """Tell of one point's progress as a part of all that is to do."""
    if progress is None:
        return None
    tell: Callable[[str, int, int], None] = progress

    def told(_: str, done: int, total: int) -> None:
        parts = 1000
        share = parts * done // max(total, 1)
        tell(f"running {missing} points", ran * parts + share, missing * parts)

    return told


def check_sweep(methods: Sequence[str], sparsities: Sequence[float]) -> None:
    """Refuse a sweep of nothing."""
    if not methods:
        raise UsageError("--methods names no method", "such as --methods lamp,global,erk")
    check_sparsities(sparsities)


def check_sparsities(sparsities: Sequence[float]) -> None:
    """Refuse to try nothing."""
    if not sparsities:
        raise UsageError("--sparsities names none", "such as --sparsities 0.5,0.8,0.9")
