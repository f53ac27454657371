"""Prunes in steps: measures the model as it is, scores what is left, takes a little more."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from onnxprune.allocations.curves import Ratios
from onnxprune.choosing import matches, measured, resolve
from onnxprune.errors import TargetError, UsageError
from onnxprune.planning import Plan, make_plan, select
from onnxprune.registry import Entry
from onnxprune.schedule import sparsity_after
from onnxprune.scoring import Given, Values
from onnxprune.selection import CHUNK, GONE
from onnxprune.types import Array, Recipe, Skipped, Weight

Masks = dict[str, Array]
"""Which weights are kept, by tensor, in stored order."""

Told = Callable[[int, int, float, int], None]
"""(step, steps, loss, weights kept)."""


class Measuring(Protocol):
    """What measures a model at a mask."""

    loss: float
    notes: list[str]

    def collect(
        self, names: Collection[str], masks: Mapping[str, Array] | None, step: int
    ) -> Mapping[str, Mapping[str, Any]]:
        """Return statistics by name and tensor, in stored order."""


@dataclass(slots=True, eq=False)
class GradualPlan(Plan):
    """A plan whose masks were found step by step."""

    masks: Masks = field(default_factory=dict)

    def pruned_paths(self) -> list[str]:
        """Return the tensors that lose weights."""
        return [path for path, count in self.zeros.items() if count]

    def pruner(self, path: str) -> Callable[[int, Array], Array]:
        """Return a function that says which of a tensor's next values go."""
        pruned = ~self.masks[path]
        return lambda start, values: pruned[start : start + values.size]


@dataclass(slots=True, eq=False)
class Progressed:
    """How far a gradual pruning is: the last step that is done, and its masks."""

    step: int = 0
    masks: Masks = field(default_factory=dict)


Keep = Callable[[Progressed], None]


def make_gradual_plan(  # noqa: PLR0913 - a plan, and what measures and watches it
    recipe: Recipe,
    weights: Sequence[Weight],
    values: Values,
    measuring: Measuring,
    ratios: Ratios | None = None,
    begun: Progressed | None = None,
    keep: Keep | None = None,
    told: Told | None = None,
) -> GradualPlan:
    """Decide a recipe step by step.

    Args:
        recipe: what was asked.
        weights: all prunable tensors, in graph order.
        values: reads them as they are in the file.
        measuring: measures the model at a mask.
        ratios: the sparsity of each tensor of `--allocation from:FILE`.
        begun: where an earlier run stopped.
        keep: is given every step that is done.
        told: is told of every step that is done.
    """
    chosen = select(recipe, weights)
    score, _ = resolve(recipe)
    steps, schedule = steps_of(recipe, score)
    if recipe.sparsity is None and steps > 1:
        raise UsageError(
            f"{score.name} prunes in {steps} steps, which need a total", "--sparsity gives it"
        )
    done = begun or Progressed()
    weights = [w for w in chosen.weights if not done.masks or w.path in done.masks]
    for step in range(done.step + 1, steps + 1):
        statistics = measuring.collect(measured(recipe), done.masks or None, step)
        weights = [w for w in weights if all(w.path in each for each in statistics.values())]
        now = step, steps, schedule
        plan = plan_step(recipe, weights, values, ratios, score, statistics, done, now)
        _refuse_collapse(plan, done, step, measuring.notes)
        done = Progressed(step, masks_of(plan, values))
        if keep is not None:
            keep(done)
        if told is not None:
            told(
                step,
                steps,
                measuring.loss,
                sum(int(mask.sum()) for mask in done.masks.values()),
            )
    return _finish(recipe, chosen, weights, done, measuring)


def steps_of(recipe: Recipe, score: Entry) -> tuple[int, str]:
    """Return how many steps there are, and how the zeros grow."""
    return recipe.steps or score.steps, recipe.schedule or score.schedule


def plan_step(  # noqa: PLR0913 - one step is all of it once more
    recipe: Recipe,
    weights: Sequence[Weight],
    values: Values,
    ratios: Ratios | None,
    score: Entry,
    statistics: Mapping[str, Mapping[str, Any]],
    done: Progressed,
    now: tuple[int, int, str],
) -> Plan:
    """Plan one step, from all weights or from what is left."""
    step, steps, schedule = now

    def reached(sparsity: float) -> float:
        return sparsity_after(step, steps, sparsity, schedule)

    # A pattern may be of tensors that were excluded, or that no gradient reaches.
    layer = {
        pattern: reached(sparsity)
        for pattern, sparsity in recipe.layer.items()
        if any(matches(pattern, weight) for weight in weights)
    }
    asked = replace(
        recipe,
        sparsity=None if recipe.sparsity is None else reached(recipe.sparsity),
        layer=layer,
        # These have chosen the tensors already.
        include=(),
        exclude=(),
    )
    gone = {} if score.regrow else {path: ~mask for path, mask in done.masks.items()}

    def left(path: str, start: int, stop: int) -> Array:
        dense = values(path, start, stop)
        return np.where(gone[path][start:stop], 0, dense) if path in gone else dense

    return make_plan(asked, weights, left, ratios, Given(statistics, gone))


def masks_of(plan: Plan, values: Values) -> Masks:
    """Return which weights a plan keeps, of all tensors that it chose."""
    return {weight.path: _mask(plan, weight, values) for weight in plan.weights}


def _mask(plan: Plan, weight: Weight, values: Values) -> Array:
    kept = np.ones(weight.size, bool)
    if weight.path not in plan.pruned_paths():
        return kept
    pruner = plan.pruner(weight.path)
    for start in range(0, weight.size, CHUNK):
        stop = min(start + CHUNK, weight.size)
        kept[start:stop] = ~pruner(start, values(weight.path, start, stop))
    return kept


def _refuse_collapse(plan: Plan, done: Progressed, step: int, notes: Sequence[str]) -> None:
    """Stop where no score tells one remaining weight from another."""
    for weight in plan.weights:
        for scores in plan.scores[weight.path].chunks():
            if ((scores != 0) & (scores != GONE)).any():
                return
    if not done.masks:
        raise TargetError(
            f"step {step}: all scores are 0 before any weight has fallen",
            notes[-1] if notes else "other samples, or another --loss, may tell them apart",
        )
    raise TargetError(
        f"step {step}: all scores of what is left are 0{_barest(done.masks)}",
        "--min-kept keeps some weights of every tensor; more --steps may help, too",
    )


def _barest(masks: Masks) -> str:
    """Name the tensor that kept the smallest part of its weights."""
    path, mask = min(masks.items(), key=lambda item: float(item[1].mean()))
    return f": of '{path}' {int(mask.sum()) or 'nothing'} of {mask.size:,} is left"


def _finish(
    recipe: Recipe,
    chosen: Plan,
    weights: Sequence[Weight],
    done: Progressed,
    measuring: Measuring,
) -> GradualPlan:
    """Put the masks of the last step into a plan."""
    reached = {weight.path for weight in weights}
    rest = [
        Skipped(weight.path, "no gradient reaches it", weight.size)
        for weight in chosen.weights
        if weight.path not in reached
    ]
    zeros = {path: int(mask.size - mask.sum()) for path, mask in done.masks.items()}
    emptied = [path for path, mask in done.masks.items() if not mask.any()]
    warnings = [*chosen.warnings, *measuring.notes]
    warnings += [f"'{path}' ends with no weight at all" for path in emptied]
    return GradualPlan(
        weights=list(weights),
        skipped=[*chosen.skipped, *rest],
        zeros=zeros,
        warnings=warnings,
        masks=done.masks,
    )
