"""Sweeps: accuracy against sparsity for several methods, resumed where one was interrupted."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from onnxprune.errors import UsageError
from onnxprune.points import Point, Study
from onnxprune.pruning import Planner, plan_weights
from onnxprune.ranked import Dismissed, company
from onnxprune.recipe import make_recipe
from onnxprune.trials.examination import Progress
from onnxprune.trials.journal import Journal, fingerprint
from onnxprune.trials.trial import Trial
from onnxprune.trials.trying import Workbench, workbench
from onnxprune.types import Recipe, Weight

Variant = tuple[str, Recipe, Sequence[Weight] | None]
"""What a point is called, its recipe, and the tensors it chooses from, if not all."""

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
    company().meet()
    variants: list[Variant] = [
        (label, variant_of(recipe, label, sparsity), None)
        for label in dict.fromkeys(methods)
        for sparsity in sorted(set(sparsities))
    ]
    with workbench(path, trial, progress, planner) as bench:
        done: list[Point] = []
        if company().leads:
            # All that can be wrong with a recipe is wrong before the first hour is spent.
            for label in dict.fromkeys(methods):
                bench.plan(variant_of(recipe, label, min(sparsities)))
            if journal is not None:
                done = journal.begin(fingerprint(bench, recipe))
        points, ran = run_points(bench, variants, done, journal, progress)
        measured = [number for number in ran if points[number].failure is None]
        if measured and trial.latency and not company().alone:
            # Another process may have run the last one.
            bench.open(bench.plan(variants[measured[-1]][1]))
        latency = bench.latency() if ran else None
        return bench.study("sweep", points, latency=latency)


def variant_of(recipe: Recipe, label: str, sparsity: float) -> Recipe:
    """Return a recipe with another method and sparsity, and its own allocation if named."""
    method, _, allocation = label.partition("+")
    named = make_recipe({"method": method, "allocation": allocation or recipe.allocation})
    return replace(recipe, method=named.method, allocation=named.allocation, sparsity=sparsity)


def run_points(
    bench: Workbench,
    variants: Sequence[Variant],
    done: Sequence[Point],
    journal: Journal | None,
    progress: Progress | None,
) -> tuple[list[Point], list[int]]:
    """Run, with all processes, what is not done yet; return all points, and which ran now."""
    known = {(point.method, point.sparsity): point for point in done}
    found = [known.get((label, recipe.sparsity or 0.0)) for label, recipe, _ in variants]
    missing = [number for number, point in enumerate(found) if point is None]
    ran = 0

    def run(number: int) -> Point:
        label, recipe, weights = variants[number]
        told = share_of(progress, ran, len(missing))
        return bench.point(label, recipe, weights, told)[0]

    for number, point in company().share_out(missing, run):
        found[number] = point
        ran += 1
        if journal is not None:
            journal.add(point)
    if not company().leads:
        raise Dismissed
    return [point for point in found if point is not None], missing


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
