"""Searches: the largest sparsity within a budget, or the best number of weights to keep."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from onnxprune.errors import TargetError, UsageError
from onnxprune.outcomes import Accuracy, CheckResult
from onnxprune.points import Point, Search
from onnxprune.pruning import Planner, plan_weights
from onnxprune.trials.checking import conclude
from onnxprune.trials.examination import Progress
from onnxprune.trials.intervals import drop_interval
from onnxprune.trials.metrics import Measures
from onnxprune.trials.trial import Trial
from onnxprune.trials.trying import Workbench, workbench
from onnxprune.types import Recipe

FINEST = 1e-4
ROUNDS = 4
"""How often the best number of weights to keep is looked for between its neighbours."""


@dataclass(slots=True, eq=False)
class _Tried:
    """The points of one search, by their setting."""

    bench: Workbench
    recipe_of: Callable[[float], Recipe]
    label_of: Callable[[float], str]
    progress: Progress | None
    confident: bool = False
    settings: list[float] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    results: list[CheckResult | None] = field(default_factory=list)
    accepted: list[bool] = field(default_factory=list)

    def at(self, setting: float) -> int:
        """Run a setting, unless that was done, and return the number of its point."""
        if setting in self.settings:
            return self.settings.index(setting)
        recipe = self.recipe_of(setting)
        point, measures = self.bench.point(
            self.label_of(setting), recipe, progress=self.progress
        )
        result = self._result(measures)
        self.settings.append(setting)
        self.points.append(point)
        self.results.append(result)
        self.accepted.append(result is not None and self._within(result))
        return len(self.points) - 1

    def _result(self, measures: Measures | None) -> CheckResult | None:
        if measures is None:
            return None
        bench = self.bench
        return conclude(bench.trial, bench.examination, measures, None)

    def _within(self, result: CheckResult) -> bool:
        limit = self.bench.trial.gate.max_drop
        if not self.confident or limit is None:
            return result.passed
        if result.interval is None:
            raise UsageError(
                "--confident: this accuracy has no interval",
                "it takes labels, one for each sample, and no --metric",
            )
        return result.passed and result.interval[1] <= limit


def search_sparsity(  # noqa: PLR0913 - a model, what to try, how
    path: Path,
    recipe: Recipe,
    trial: Trial,
    resolution: float = 0.01,
    confident: bool = False,
    progress: Progress | None = None,
    planner: Planner = plan_weights,
) -> Search:
    """Find the largest sparsity that meets the gate, halving what is left to search.

    Args:
        path: the model.
        recipe: everything but the sparsity.
        trial: on what variants are compared, and the gate they have to pass.
        resolution: sparsities are multiples of it.
        confident: the whole interval of the drop has to be within `--max-drop`.
        progress: is told how far the work is.
        planner: decides recipes.
    """
    if not trial.gate:
        raise UsageError("a search needs a budget", "such as --max-drop 0.01")
    if not FINEST <= resolution <= 0.5:
        raise UsageError(f"--resolution lies in [{FINEST:g}, 0.5], got {resolution:g}")
    if confident and trial.gate.max_drop is None:
        raise UsageError("--confident goes with --max-drop")
    steps = math.ceil(1 / resolution - 1e-9)

    def sparsity(step: int) -> float:
        return round(step * resolution, 10)

    with workbench(path, trial, progress, planner) as bench:
        tried = _Tried(
            bench,
            lambda setting: replace(recipe, sparsity=setting),
            lambda setting: recipe.method,
            _counting(progress, math.ceil(math.log2(steps))),
            confident,
        )
        low, high = 0, steps
        while high - low > 1:
            middle = (low + high) // 2
            if tried.accepted[tried.at(sparsity(middle))]:
                low = middle
            else:
                high = middle
        if low == 0:
            worst = tried.at(sparsity(1))
            raise TargetError(
                f"already sparsity {sparsity(1):g} is over the budget: {_why(tried, worst)}",
                "a larger budget, or a method that loses less",
            )
        chosen = tried.at(sparsity(low))
        over = tried.at(sparsity(high)) if high < steps else None
        return _search(tried, "sparsity", chosen, _deciding(tried, chosen, over))


def search_min_kept(
    path: Path,
    recipe: Recipe,
    trial: Trial,
    progress: Progress | None = None,
    planner: Planner = plan_weights,
) -> Search:
    """Find how many weights every tensor best keeps, at the recipe's sparsity.

    Accuracy rises with this number and falls again: powers of two find the hill, and the
    middle between the best and its neighbours its top.
    """
    if recipe.sparsity is None:
        raise UsageError("--over min-kept needs --sparsity, which stays as it is")
    with workbench(path, trial, progress, planner) as bench:
        highest = _most_kept(bench, recipe)
        ladder = [0, *(1 << power for power in range(highest.bit_length()))]
        tried = _Tried(
            bench,
            lambda setting: replace(recipe, min_kept=int(setting)),
            lambda setting: f"{recipe.method}, min-kept {int(setting):,}",
            _counting(progress, len(ladder) + 2 * ROUNDS),
        )
        for kept in ladder:
            tried.at(kept)
        for _ in range(ROUNDS):
            below, best, above = _around(tried)
            for kept in {(below + best) // 2, (best + above) // 2}:
                tried.at(kept)
        chosen = _best(tried)
        if tried.results[chosen] is None:
            raise TargetError(f"no point could be measured: {tried.points[chosen].failure}")
        if not tried.accepted[chosen]:
            raise TargetError(
                f"every number of weights to keep is over the budget: {_why(tried, chosen)}",
                "a larger budget, or a smaller --sparsity",
            )
        return _search(tried, "min-kept", chosen, _gain(tried, chosen))


def _most_kept(bench: Workbench, recipe: Recipe) -> int:
    """Return the largest number that every tensor can keep at this sparsity."""
    sizes = [weight.size for weight in bench.plan(recipe).weights]
    zeros = round((recipe.sparsity or 0.0) * sum(sizes))
    low, high = 0, max(sizes) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if sum(max(0, size - middle) for size in sizes) >= zeros:
            low = middle
        else:
            high = middle
    return low


def _around(tried: _Tried) -> tuple[int, int, int]:
    """Return the best setting between its neighbours among those tried."""
    best = tried.settings[_best(tried)]
    settings = sorted(tried.settings)
    place = settings.index(best)
    below = settings[max(place - 1, 0)]
    above = settings[min(place + 1, len(settings) - 1)]
    return int(below), int(best), int(above)


def _best(tried: _Tried) -> int:
    """Return the best point within the budget: the highest figure, then the least divergence."""

    def rank(number: int) -> tuple[bool, float, float, float]:
        point = tried.points[number]
        if point.measured is None or point.value is None:
            return False, -math.inf, -math.inf, 0.0
        found = [each.kl for each in point.measured.outputs if each.kl is not None]
        nearest = -min(found, default=0.0)
        return tried.accepted[number], point.value, nearest, -tried.settings[number]

    return max(range(len(tried.points)), key=rank)


def _search(tried: _Tried, over: str, chosen: int, sentences: tuple[str, ...]) -> Search:
    result = tried.results[chosen]
    assert result is not None
    bench = tried.bench
    gate = bench.trial.gate
    if bench.trial.latency and chosen != len(tried.points) - 1:
        bench.open(bench.plan(tried.recipe_of(tried.settings[chosen])))
    return Search(
        study=bench.study("search", tried.points, latency=bench.latency()),
        over=over,
        budget=tuple(gate.options()),
        settings=tuple(tried.settings),
        accepted=tuple(tried.accepted),
        chosen=chosen,
        result=result,
        sentences=sentences,
    )


def _why(tried: _Tried, number: int) -> str:
    result = tried.results[number]
    if result is None:
        return tried.points[number].failure or "it cannot be measured"
    return "; ".join(each.sentence for each in result.conditions if not each.passed)


def _deciding(tried: _Tried, chosen: int, over: int | None) -> tuple[str, ...]:
    """Say how many samples decide between the last point within and the first one over."""
    sentences = []
    for number, verdict in ((chosen, "within"), (over, "over")):
        if number is None:
            sentences.append("no sparsity that was tried is over the budget")
            continue
        result = tried.results[number]
        setting = tried.settings[number]
        accuracy = result.measured.accuracy if result is not None else None
        if accuracy is None:
            sentences.append(f"{setting:g} is {verdict} the budget")
            continue
        sentences.append(f"{setting:g} is {verdict} the budget: {_samples(accuracy)}")
    sentences.append(
        "larger sparsities than the first one over the budget are taken to be over it, too"
    )
    return tuple(sentences)


def _samples(accuracy: Accuracy) -> str:
    low, high = drop_interval(accuracy)
    return (
        f"{accuracy.lost + accuracy.won:,} of {accuracy.total:,} samples decide"
        f" ({accuracy.lost:,} lost, {accuracy.won:,} won), a drop of"
        f" {100 * float(accuracy.drop):.2f} points, 95 % interval"
        f" {100 * low:.2f} to {100 * high:.2f}"
    )


def _gain(tried: _Tried, chosen: int) -> tuple[str, ...]:
    best, plain = tried.points[chosen], tried.points[tried.at(0)]
    name = tried.bench.dense.headline[0]
    value = "not measured" if plain.value is None else f"{plain.value:.4f}"
    return (
        f"{name} {best.value:.4f} where every tensor keeps {int(tried.settings[chosen]):,}"
        f" weights, {value} without that",
    )


def _counting(progress: Progress | None, expected: int) -> Progress | None:
    """Tell of one search's progress, as far as the number of its points is known."""
    if progress is None:
        return None
    tell: Callable[[str, int, int], None] = progress
    parts, finished = 1000, 0

    def told(_: str, done: int, total: int) -> None:
        nonlocal finished
        share = parts * done // max(total, 1)
        whole = max(expected, finished + 1) * parts
        tell("searching", finished * parts + share, whole)
        if done >= total:
            finished += 1

    return told
