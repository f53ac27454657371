"""Decides how many weights go where: selection by name, caps, allocation, cuts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction

from onnxprune.allocations.candidate import Candidate, out_of_reach
from onnxprune.allocations.curves import Curves
from onnxprune.errors import OnnxpruneError, TargetError, UsageError
from onnxprune.outcomes import Calibration
from onnxprune.recipe import own_options, refuse_unknown_options
from onnxprune.registry import Entry, find
from onnxprune.scoring import Given, Values, rank
from onnxprune.selection import Cut, Ranking, Sieve
from onnxprune.threads import parallel
from onnxprune.types import Array, Recipe, Skipped, Weight

Ratios = Mapping[str, Fraction] | Curves
"""The sparsity of each tensor, or what each sparsity of it costs."""


@dataclass(slots=True, eq=False)
class Plan:
    """How many weights of each tensor go, and which.

    Args:
        weights: the selected tensors, in graph order.
        skipped: those that were not selected.
        zeros: the budget of each selected tensor, by path.
        cuts: where each tensor with a budget is cut.
        rankings: the scores behind the cuts.
        warnings: what a user should know.
        calibration: how the model was measured, if it was.
    """

    weights: list[Weight]
    skipped: list[Skipped]
    zeros: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    rankings: dict[str, Ranking] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    calibration: Calibration | None = None

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
    refuse_unknown_options(recipe.options, score, allocate)
    if score.measured and given is None:
        raise UsageError(
            f"{score.name} measures the model on samples", "--data SET names them"
        )
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
    candidates = _candidates(recipe, plan, score, values, given)
    _allocate(recipe, plan, allocate, candidates, zeros, ratios)
    plan.rankings = {c.weight.path: c.scores for c in candidates}
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


def matches(pattern: str, weight: Weight) -> bool:
    """Whether a glob matches a tensor's path, its own name or its node."""
    names = (weight.path, weight.path.rpartition("/")[2], weight.node)
    return any(pattern == name or fnmatchcase(name, pattern) for name in names)


def resolve(recipe: Recipe) -> tuple[Entry, Entry]:
    """Find the method and the allocation that a recipe names."""
    named = find(recipe.method)
    asked = recipe.allocation
    if asked is not None and asked.startswith("from:"):
        asked = "from"
    if named.kind == "method":
        return named, find(asked or named.allocation, "allocation")
    if asked is not None and find(asked, "allocation") is not named:
        raise UsageError(
            f"{named.name} is an allocation, and --allocation {asked} is another",
            "give one of the two; --method takes what scores, such as magnitude or random",
        )
    return find("magnitude"), named


def _left_out(recipe: Recipe, weight: Weight) -> str | None:
    if any(matches(pattern, weight) for pattern in recipe.exclude):
        return "excluded by --exclude"
    if recipe.include and not any(matches(pattern, weight) for pattern in recipe.include):
        return "not matched by --include"
    if weight.embedding and not recipe.include_embeddings:
        return "embedding table (--include-embeddings prunes it)"
    if weight.size < recipe.min_size:
        return f"fewer than {recipe.min_size:,} elements (--min-size)"
    return None


def _nothing(plan: Plan) -> TargetError:
    seen = sorted({skipped.reason for skipped in plan.skipped})
    detail = f"; left out: {', '.join(seen)}" if seen else ""
    return TargetError(
        f"nothing to prune: no prunable weight{detail}",
        "onnxprune inspect MODEL shows what is there",
    )


def _candidates(
    recipe: Recipe, plan: Plan, score: Entry, values: Values, given: Given | None
) -> list[Candidate]:
    highest = Fraction(repr(float(recipe.max_layer_sparsity)))
    candidates = []
    for weight in plan.weights:
        magnitudes = rank(weight, values, find("magnitude"), {}, recipe.seed)
        scores = magnitudes
        if score.name != "magnitude":
            options = own_options(score, recipe.options)
            scores = rank(weight, values, score, options, recipe.seed, given)
        limit = min(
            weight.size - min(weight.size, recipe.min_kept), int(highest * weight.size)
        )
        candidates.append(Candidate(weight, scores, magnitudes, limit))
    return candidates


def _allocate(  # noqa: PLR0913 - the parts of one decision
    recipe: Recipe,
    plan: Plan,
    allocate: Entry,
    candidates: list[Candidate],
    zeros: int,
    ratios: Ratios | None,
) -> None:
    """Set the budgets: first what --layer fixes, then the rest by the allocation."""
    total = sum(candidate.weight.size for candidate in candidates)
    free = _fix(recipe, plan, candidates)
    rest = zeros - sum(plan.zeros.values())
    if rest < 0:
        least = math.ceil(Fraction(zeros - rest, total) * 10000) / 10000
        raise TargetError(
            f"--layer alone makes {zeros - rest:,} zeros, the target is {zeros:,}",
            f"the smallest feasible sparsity is {least:.4f}",
        )
    reach = sum(candidate.limit for candidate in free)
    if reach < rest:
        raise out_of_reach("the caps on tensors", zeros - rest + reach, total)
    counts = [0] * len(free)
    if free and rest:
        try:
            counts = _divide(recipe, allocate, free, rest, ratios)
        except TargetError as error:
            # What an allocation calls feasible holds for the tensors it is given.
            if len(free) < len(candidates):
                error.hint = "these are the weights that --layer leaves free"
            raise
    for candidate, count in zip(free, counts, strict=True):
        plan.zeros[candidate.weight.path] = count
    plan.zeros = {weight.path: plan.zeros[weight.path] for weight in plan.weights}


def _fix(recipe: Recipe, plan: Plan, candidates: list[Candidate]) -> list[Candidate]:
    """Set the budgets that --layer fixes; return the other tensors."""
    free = []
    for candidate in candidates:
        weight = candidate.weight
        fixed = [s for pattern, s in recipe.layer.items() if matches(pattern, weight)]
        if not fixed:
            free.append(candidate)
            continue
        zeros = plan.zeros[weight.path] = round(fixed[-1] * weight.size)
        if zeros > candidate.limit:
            raise TargetError(
                f"--layer makes {zeros:,} zeros in '{weight.path}',"
                f" the caps on tensors allow {candidate.limit:,}",
                "--max-layer-sparsity and --min-kept hold for every tensor",
            )
    return free


def _divide(
    recipe: Recipe,
    allocate: Entry,
    candidates: list[Candidate],
    zeros: int,
    ratios: Ratios | None,
) -> list[int]:
    """Let the allocation divide the zeros, and hold it to its contract."""
    if "ratios" in allocate.needs and ratios is None:
        raise UsageError(
            f"{allocate.name} takes its ratios from a file", "--allocation from:FILE names it"
        )
    needs = {"ratios": ratios} if "ratios" in allocate.needs else {}
    options = own_options(allocate, recipe.options)
    try:
        counts = [int(n) for n in allocate.function(candidates, zeros, **needs, **options)]
    except (OnnxpruneError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if allocate.function.__module__.startswith("onnxprune."):
            raise
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"allocation {allocate.name} failed: {what}") from error
    if len(counts) != len(candidates) or sum(counts) != zeros:
        raise UsageError(
            f"allocation {allocate.name} gave {sum(counts):,} zeros for {len(counts):,} tensors,"
            f" asked were {zeros:,} for {len(candidates):,}"
        )
    for candidate, count in zip(candidates, counts, strict=True):
        if not 0 <= count <= candidate.limit:
            raise UsageError(
                f"allocation {allocate.name} took {count:,} from '{candidate.weight.path}',"
                f" which may give {candidate.limit:,}"
            )
    return counts
