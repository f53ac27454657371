"""Decides how many weights go where: selection by name, caps, allocation, cuts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from onnxprune.allocations.candidate import Candidate
from onnxprune.allocations.curves import Curves, Ratios
from onnxprune.budgets import budgets
from onnxprune.choosing import matches, measured, resolve
from onnxprune.errors import TargetError, UsageError
from onnxprune.outcomes import Calibration
from onnxprune.patterns.demands import method_options, refuse_conflict
from onnxprune.patterns.pattern import (
    UNSTRUCTURED,
    Blocks,
    Filters,
    Pattern,
    Unstructured,
    misfit,
    parse_pattern,
)
from onnxprune.patterns.structure import leave_incomplete
from onnxprune.recipe import own_options, refuse_unknown_options
from onnxprune.recoveries import Recovery
from onnxprune.registry import Entry, find
from onnxprune.scoring import Given, Values, rank
from onnxprune.selection import Cut, Ranking, Sieve
from onnxprune.shaping import shape_of
from onnxprune.threads import parallel
from onnxprune.types import Array, Recipe, Skipped, Weight


@dataclass(slots=True, eq=False)
class Plan:
    """How many weights of each tensor go, and which.

    Args:
        weights: the selected tensors, in graph order.
        skipped: those that were not selected.
        zeros: the budget of each selected tensor, by path.
        cuts: where each tensor with a budget is cut.
        rankings: what tensors are cut by.
        scores: the method's scores behind that.
        warnings: what a user should know.
        calibration: how the model was measured, if it was.
        values: what tensors hold instead of what is in the file, by path, in stored order.
        additions: biases to make, by the weight whose outputs they are added to.
        recovery: what was done to win accuracy back, if anything was.
        followers: what goes of biases and normalisations with whole filters, by path.
    """

    weights: list[Weight]
    skipped: list[Skipped]
    zeros: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    rankings: dict[str, Ranking] = field(default_factory=dict)
    scores: dict[str, Ranking] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    calibration: Calibration | None = None
    values: dict[str, Array] = field(default_factory=dict)
    additions: dict[str, Array] = field(default_factory=dict)
    recovery: Recovery | None = None
    followers: dict[str, Array] = field(default_factory=dict)

    def pruned_paths(self) -> list[str]:
        """Return the tensors that lose weights."""
        return list(self.cuts)

    def pruner(self, path: str) -> Callable[[int, Array], Array]:
        """Return a function that says which of a tensor's next values go, from 0 on again."""
        sieve = Sieve(self.cuts[path])
        ranking = self.rankings[path]

        def pruned(start: int, values: Array) -> Array:
            nonlocal sieve
            if start == 0:
                sieve = Sieve(self.cuts[path])
            return sieve.pruned(ranking.scores_of(start, values))

        return pruned


def make_plan(
    recipe: Recipe,
    weights: Sequence[Weight],
    values: Values,
    ratios: Ratios | None = None,
    given: Given | None = None,
) -> Plan:
    """Decide a recipe for a model's weights.

    Args:
        recipe: what was asked.
        weights: all prunable tensors, in graph order.
        values: reads them.
        ratios: the sparsity of each tensor of `--allocation from:FILE`.
        given: what was measured of the model, if the method needs that.
    """
    plan = select(recipe, weights)
    if not plan.weights:
        raise _nothing(plan)
    score, allocate = resolve(recipe)
    pattern = parse_pattern(recipe.pattern)
    named = find(recipe.method).kind == "allocation"
    refuse_conflict(recipe, pattern, allocate.name, named)
    refuse_unknown_options(method_options(recipe, pattern), score, allocate)
    if given is None and measured(recipe):
        who = score if score.measured else allocate
        raise UsageError(f"{who.name} measures the model on samples", "--data SET names them")
    total = sum(weight.size for weight in plan.weights)
    if recipe.sparsity is not None:
        zeros = round(recipe.sparsity * total)
    elif isinstance(ratios, Curves):
        raise UsageError("a sensitivity does not say how much goes in all", "--sparsity does")
    elif ratios is not None:
        shares = (ratios.get(w.path, Fraction(0)) * w.size for w in plan.weights)
        zeros = round(sum(shares, Fraction(0)))
    else:
        raise UsageError("how much should go? try --sparsity 0.5")
    given = _shaped(given, plan, pattern)
    candidates = _candidates(recipe, plan, score, values, given)
    shape = shape_of(pattern, recipe, candidates, given.gone)
    zeros = shape.within_reach(zeros)
    plan.zeros = shape.fixed(zeros) or shape.settled(
        budgets(recipe, allocate, shape.candidates, zeros, ratios, given), zeros
    )
    final = _final(recipe, plan, score, candidates, values, given)
    plan.scores = {c.weight.path: c.scores for c in candidates}
    plan.rankings = shape.ordered(final)
    cut = [path for path, count in plan.zeros.items() if count]
    cuts = parallel(lambda path: plan.rankings[path].cut(plan.zeros[path]), cut)
    plan.cuts = dict(zip(cut, cuts, strict=True))
    emptied = [w.path for w in plan.weights if plan.zeros[w.path] == w.size]
    plan.warnings += [f"'{path}' ends with no weight at all" for path in emptied]
    return plan


def select(recipe: Recipe, weights: Sequence[Weight]) -> Plan:
    """Choose the tensors that take part."""
    chosen, skipped = [], []
    for weight in weights:
        why = _left_out(recipe, weight)
        if why is None:
            chosen.append(weight)
        else:
            skipped.append(Skipped(weight.path, why, weight.size))
    if isinstance(parse_pattern(recipe.pattern), Filters):
        chosen, apart = leave_incomplete(chosen, weights)
        skipped += apart
    for option, patterns in (("--include", recipe.include), ("--layer", tuple(recipe.layer))):
        for pattern in patterns:
            if weights and not any(matches(pattern, weight) for weight in weights):
                raise UsageError(
                    f"{option} '{pattern}' matches no prunable tensor",
                    "onnxprune inspect MODEL shows their names",
                )
    warnings = [
        f"--exclude '{pattern}' matches nothing"
        for pattern in recipe.exclude
        if not any(matches(pattern, weight) for weight in weights)
    ]
    return Plan(chosen, skipped, warnings=warnings)


def adjustable(
    recipe: Recipe, weights: Sequence[Weight], chosen: Sequence[Weight]
) -> list[Weight]:
    """Return the weights whose values a recovery may change.

    Args:
        recipe: what was asked.
        weights: all prunable tensors.
        chosen: those that are pruned; what only the pattern leaves out is adjusted beside them.
    """
    known = {weight.path: weight for weight in chosen}
    free = replace(recipe, pattern=str(UNSTRUCTURED))
    patterned = recipe.pattern != free.pattern
    return [
        known.get(weight.path, weight)
        for weight in weights
        if weight.path in known or (patterned and _left_out(free, weight) is None)
    ]


def _left_out(recipe: Recipe, weight: Weight) -> str | None:
    if any(matches(pattern, weight) for pattern in recipe.exclude):
        return "excluded by --exclude"
    if recipe.include and not any(matches(pattern, weight) for pattern in recipe.include):
        return "not matched by --include"
    if weight.embedding and not recipe.include_embeddings:
        return "embedding table (--include-embeddings prunes it)"
    if weight.size < recipe.min_size:
        return f"fewer than {recipe.min_size:,} elements (--min-size)"
    return misfit(parse_pattern(recipe.pattern), weight)


def _nothing(plan: Plan) -> TargetError:
    seen = sorted({skipped.reason for skipped in plan.skipped})
    detail = f"; left out: {', '.join(seen)}" if seen else ""
    return TargetError(
        f"nothing to prune: no prunable weight{detail}",
        "onnxprune inspect MODEL shows what is there",
    )


def _shaped(given: Given | None, plan: Plan, pattern: Pattern) -> Given:
    """Tell methods of the pattern; what asks for budgets scores units before there are any."""
    made = replace(given or Given(), pattern=pattern)
    if isinstance(pattern, Blocks | Filters):
        return replace(made, zeros={weight.path: 0 for weight in plan.weights})
    return made


def _candidates(
    recipe: Recipe, plan: Plan, score: Entry, values: Values, given: Given
) -> list[Candidate]:
    highest = Fraction(repr(float(recipe.max_layer_sparsity)))
    candidates = []
    for weight in plan.weights:
        magnitudes = rank(weight, values, find("magnitude"), {}, recipe.seed)
        scores = magnitudes
        if score.name != "magnitude" and ("zeros" not in score.needs or given.zeros):
            options = own_options(score, recipe.options)
            scores = rank(weight, values, score, options, recipe.seed, given)
        limit = min(
            weight.size - min(weight.size, recipe.min_kept), int(highest * weight.size)
        )
        candidates.append(Candidate(weight, scores, magnitudes, limit))
    return candidates


def _final(  # noqa: PLR0913 - the parts of one decision
    recipe: Recipe,
    plan: Plan,
    score: Entry,
    candidates: list[Candidate],
    values: Values,
    given: Given,
) -> dict[str, Ranking]:
    """Return scores that are compared row by row, or that follow from budgets, if they are."""
    group = recipe.group or score.group
    free = isinstance(given.pattern, Unstructured)
    late = "zeros" in score.needs and not given.zeros
    if not late and (group == "tensor" or not free):
        return {c.weight.path: c.scores for c in candidates}
    known = replace(given, zeros=plan.zeros)
    options = own_options(score, recipe.options)
    within = group if free else "tensor"
    return {
        c.weight.path: rank(c.weight, values, score, options, recipe.seed, known, within)
        for c in candidates
    }
