"""Decides how many weights go where: selection by name, caps, allocation, cuts."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

import numpy as np

from onnxprune.allocation.candidate import Candidate, out_of_reach
from onnxprune.errors import TargetError, UsageError
from onnxprune.recipe import own_options, refuse_unknown_options
from onnxprune.registry import Entry, find
from onnxprune.selection import CHUNK, Cut, Ranking, Sieve
from onnxprune.threads import parallel
from onnxprune.types import Array, Recipe, Skipped, Weight

KEEP_SCORES = 1 << 22
"""Scores of a method that needs whole tensors are kept up to this many, else made again."""

Values = Callable[[str, int, int], Array]
"""(path, start, stop) -> the real values of a weight."""


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
    """

    weights: list[Weight]
    skipped: list[Skipped]
    zeros: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    rankings: dict[str, Ranking] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def pruner(self, path: str) -> Callable[[int, Array], Array]:
        """Return a fresh function that says which of a tensor's next values go."""
        sieve = Sieve(self.cuts[path])
        ranking = self.rankings[path]

        def pruned(start: int, values: Array) -> Array:
            return sieve.pruned(ranking.scores_of(start, values))

        return pruned


def make_plan(
    recipe: Recipe,
    weights: Sequence[Weight],
    values: Values,
    ratios: Mapping[str, Fraction] | None = None,
) -> Plan:
    """Decide a recipe for a model's weights.

    Args:
        recipe: what was asked.
        weights: all prunable tensors, in graph order.
        values: reads them.
        ratios: the sparsity of each tensor of `--allocation from:FILE`.
    """
    plan = select(recipe, weights)
    if not plan.weights:
        raise _nothing(plan)
    score, allocate = resolve(recipe)
    refuse_unknown_options(recipe.options, score, allocate)
    total = sum(weight.size for weight in plan.weights)
    if recipe.sparsity is not None:
        zeros = round(recipe.sparsity * total)
    elif ratios is not None:
        shares = (ratios.get(w.path, Fraction(0)) * w.size for w in plan.weights)
        zeros = round(sum(shares, Fraction(0)))
    else:
        raise UsageError("how much should go? try --sparsity 0.5")
    candidates = _candidates(recipe, plan, score, values)
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


def _candidates(recipe: Recipe, plan: Plan, score: Entry, values: Values) -> list[Candidate]:
    highest = Fraction(repr(float(recipe.max_layer_sparsity)))
    candidates = []
    for weight in plan.weights:
        magnitudes = _ranking(weight, values, find("magnitude"), {}, recipe.seed)
        scores = magnitudes
        if score.name != "magnitude":
            options = own_options(score, recipe.options)
            scores = _ranking(weight, values, score, options, recipe.seed)
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
    ratios: Mapping[str, Fraction] | None,
) -> None:
    """Set the budgets: first what --layer fixes, then the rest by the allocation."""
    total = sum(candidate.weight.size for candidate in candidates)
    free = []
    rest = zeros
    for candidate in candidates:
        weight = candidate.weight
        fixed = [s for pattern, s in recipe.layer.items() if matches(pattern, weight)]
        if fixed:
            plan.zeros[weight.path] = round(fixed[-1] * weight.size)
            rest -= plan.zeros[weight.path]
        else:
            free.append(candidate)
    if rest < 0:
        raise TargetError(
            f"--layer alone makes {zeros - rest:,} zeros, the target is {zeros:,}",
            f"the smallest feasible sparsity is {(zeros - rest) / total:.4f}",
        )
    reach = sum(candidate.limit for candidate in free)
    if reach < rest:
        raise out_of_reach("the caps on tensors", zeros - rest + reach, total)
    counts = [0] * len(free)
    if free and rest:
        needs = {"ratios": ratios} if "ratios" in allocate.needs else {}
        options = own_options(allocate, recipe.options)
        counts = allocate.function(free, rest, **needs, **options)
        _check_counts(allocate, free, counts, rest)
    for candidate, count in zip(free, counts, strict=True):
        plan.zeros[candidate.weight.path] = count
    plan.zeros = {weight.path: plan.zeros[weight.path] for weight in plan.weights}


def _check_counts(
    allocate: Entry, candidates: list[Candidate], counts: Any, zeros: int
) -> None:
    """Hold an allocation to its contract."""
    if len(counts) != len(candidates) or sum(counts) != zeros:
        raise UsageError(
            f"allocation {allocate.name} gave {sum(counts):,} zeros, asked were {zeros:,}"
        )
    for candidate, count in zip(candidates, counts, strict=True):
        if not 0 <= count <= candidate.limit:
            raise UsageError(
                f"allocation {allocate.name} took {count:,} from '{candidate.weight.path}',"
                f" which may give {candidate.limit:,}"
            )


def _ranking(
    weight: Weight, values: Values, score: Entry, options: dict[str, Any], seed: int
) -> Ranking:
    source = _Scores(weight, values, score, options, seed)
    return Ranking(weight.path, weight.shape, source.read, source.of)


class _Scores:
    """The scores of one tensor, made by a method from its values."""

    def __init__(
        self, weight: Weight, values: Values, score: Entry, options: dict[str, Any], seed: int
    ) -> None:
        self.weight = weight
        self.values = values
        self.score = score
        self.options = options
        self.seed = seed
        self._rng: np.random.Generator | None = None
        self._whole: Array | None = None

    def read(self, start: int, stop: int) -> Array:
        """Score a range of positions; ranges are asked for in order."""
        if self.score.elementwise:
            return self.of(start, self.values(self.weight.path, start, stop))
        if self._whole is None or start == 0:
            self._whole = self._score_whole()
        piece = self._whole[start:stop]
        if stop == self.weight.size and self.weight.size > KEEP_SCORES:
            self._whole = None
        return piece

    def of(self, start: int, values: Array) -> Array:
        """Score values that have been read already."""
        if not self.score.elementwise:
            return self.read(start, start + values.size)
        return self._call(values, start)

    def _score_whole(self) -> Array:
        if self._whole is not None and self._whole.size <= KEEP_SCORES:
            return self._whole
        size, layout = self.weight.size, self.weight.layout
        parts = [
            self.values(self.weight.path, start, min(start + CHUNK, size))
            for start in range(0, size, CHUNK)
        ]
        return layout.flat(self._call(layout.matrix(np.concatenate(parts)), 0))

    def _call(self, values: Array, start: int) -> Array:
        needs: dict[str, Any] = {}
        if "rng" in self.score.needs:
            if start == 0 or self._rng is None:
                name = zlib.crc32(self.weight.path.encode())
                self._rng = np.random.default_rng([self.seed, name])
            needs["rng"] = self._rng
        scores: Array = self.score.function(values, **needs, **self.options)
        if not isinstance(scores, np.ndarray) or scores.shape != values.shape:
            shape = getattr(scores, "shape", type(scores).__name__)
            raise UsageError(
                f"method {self.score.name} returned {shape} for '{self.weight.path}',"
                f" wanted scores of shape {values.shape}"
            )
        if scores.dtype not in (np.float32, np.float64):
            scores = scores.astype(np.float64)
        return scores
