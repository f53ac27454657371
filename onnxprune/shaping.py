"""What a pattern makes of a plan: of candidates, of budgets, and of what tensors are cut by."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from onnxprune.allocations.candidate import Candidate
from onnxprune.errors import UsageError
from onnxprune.patterns.derived import Worth, lift_kept
from onnxprune.patterns.pattern import Blocks, Filters, Groups, Pattern, Unstructured
from onnxprune.patterns.pools import pools_of
from onnxprune.patterns.rounding import whole_units
from onnxprune.patterns.tiling import tile
from onnxprune.selection import Ranking
from onnxprune.types import Array, Recipe, Weight


class Shape(Protocol):
    """A pattern at work on the tensors of one plan; `candidates` are what allocations see."""

    candidates: list[Candidate]

    def within_reach(self, zeros: int) -> int:
        """Return a total that units can meet, if this one is less than a unit too large."""

    def fixed(self, zeros: int) -> dict[str, int] | None:
        """Return the budgets of a total that can be met in one way only, if it is so."""

    def settled(self, budgets: dict[str, int], zeros: int) -> dict[str, int]:
        """Return budgets that the pattern can meet."""

    def ordered(self, scores: dict[str, Ranking]) -> dict[str, Ranking]:
        """Return rankings of which any cut at these budgets has the pattern."""


def shape_of(
    pattern: Pattern,
    recipe: Recipe,
    candidates: list[Candidate],
    gone: Mapping[str, Array],
) -> Shape:
    """Put a pattern to work.

    Args:
        pattern: the pattern.
        recipe: what was asked.
        candidates: the tensors, as the method ranks their weights.
        gone: what has fallen in earlier steps, and stays fallen.
    """
    match pattern:
        case Unstructured():
            return _Free(candidates)
        case Groups():
            return _Grouped(pattern, recipe, candidates)
        case Blocks() | Filters():
            return _Whole(pattern, recipe, candidates, gone)


class _Free:
    """Every weight for itself."""

    def __init__(self, candidates: list[Candidate]) -> None:
        self.candidates = candidates

    def fixed(self, zeros: int) -> dict[str, int] | None:
        del zeros
        return None

    def within_reach(self, zeros: int) -> int:
        return zeros

    def settled(self, budgets: dict[str, int], zeros: int) -> dict[str, int]:
        del zeros
        return budgets

    def ordered(self, scores: dict[str, Ranking]) -> dict[str, Ranking]:
        return scores


class _Grouped:
    """N of M: the best N of each group are above all others, which are all that may fall."""

    def __init__(self, pattern: Groups, recipe: Recipe, candidates: list[Candidate]) -> None:
        self.pattern = pattern
        self.weights = [candidate.weight for candidate in candidates]
        self.candidates = [self._lifted(candidate) for candidate in candidates]
        for weight, candidate in zip(self.weights, self.candidates, strict=True):
            kept = weight.size - candidate.limit
            if recipe.min_kept > kept:
                raise UsageError(
                    f"--min-kept {recipe.min_kept}: --pattern {pattern} keeps {kept:,} of"
                    f" {weight.size:,} weights in '{weight.path}'",
                    f"--exclude '{weight.path}' leaves it as it is",
                )

    def fixed(self, zeros: int) -> dict[str, int] | None:
        if zeros != sum(candidate.limit for candidate in self.candidates):
            return None
        return {each.weight.path: each.limit for each in self.candidates}

    def within_reach(self, zeros: int) -> int:
        return zeros

    def settled(self, budgets: dict[str, int], zeros: int) -> dict[str, int]:
        del zeros
        return budgets

    def ordered(self, scores: dict[str, Ranking]) -> dict[str, Ranking]:
        known = {
            each.weight.path: each.scores
            for each, weight in zip(self.candidates, self.weights, strict=True)
            if each.scores is scores[weight.path]
        }
        return {
            weight.path: known.get(weight.path) or self._lift(weight, scores[weight.path])
            for weight in self.weights
        }

    def _lifted(self, candidate: Candidate) -> Candidate:
        weight, same = candidate.weight, candidate.scores is candidate.magnitudes
        magnitudes = self._lift(weight, candidate.magnitudes)
        scores = magnitudes if same else self._lift(weight, candidate.scores)
        limit = weight.size // self.pattern.m * (self.pattern.m - self.pattern.n)
        return Candidate(weight, scores, magnitudes, limit)

    def _lift(self, weight: Weight, ranking: Ranking) -> Ranking:
        return lift_kept(ranking, tile(self.pattern, weight.layout), self.pattern.n)


class _Whole:
    """Whole units: each weight has its unit's score, and budgets are of whole units."""

    def __init__(
        self,
        pattern: Blocks | Filters,
        recipe: Recipe,
        candidates: list[Candidate],
        gone: Mapping[str, Array],
    ) -> None:
        filters = isinstance(pattern, Filters)
        self.squared = recipe.options.get("norm") == "l2"
        weights = [candidate.weight for candidate in candidates]
        tilings = {each.path: tile(pattern, each.layout) for each in weights}
        whole = weights if filters else [replace(each, units=()) for each in weights]
        self.pools = pools_of(whole, tilings)
        caps = {c.weight.path: c.limit for c in candidates}
        multiple = recipe.channel_multiple if filters else 1
        # Of filters at least one stays.
        stocks = [each.stocks(caps, gone, multiple, not filters) for each in self.pools]
        self.stocks = [stock for each in stocks for stock in each]
        self.fallen = [[0] * len(each.kinds) for each in self.pools]
        self.worths = self._worths({c.weight.path: c.scores for c in candidates})
        sizes = self.worths
        if any(candidate.scores is not candidate.magnitudes for candidate in candidates):
            sizes = self._worths({c.weight.path: c.magnitudes for c in candidates})
        made = {}
        for worth, size, own in zip(self.worths, sizes, stocks, strict=True):
            limits = worth.pool.lost([stock.most for stock in own])
            for member in worth.pool.members:
                ranking = worth.of_weights(member)
                same = ranking if size is worth else size.of_weights(member)
                made[member.path] = ranking, same, limits[member.path]
        self.candidates = [Candidate(each, *made[each.path]) for each in weights]

    def fixed(self, zeros: int) -> dict[str, int] | None:
        del zeros
        return None

    def within_reach(self, zeros: int) -> int:
        reach = sum(candidate.limit for candidate in self.candidates)
        step = max(stock.size * stock.multiple for stock in self.stocks)
        return reach if reach < zeros < reach + step else zeros

    def settled(self, budgets: dict[str, int], zeros: int) -> dict[str, int]:
        weights = [
            number
            for worth in self.worths
            for number in worth.pool.divided(budgets, worth.of_units)
        ]
        units = iter(whole_units(self.stocks, weights, zeros))
        self.fallen = [[next(units) for _ in each.kinds] for each in self.pools]
        found: dict[str, int] = {}
        for pool, fallen in zip(self.pools, self.fallen, strict=True):
            found |= pool.lost(fallen)
        return {path: found[path] for path in budgets}

    def ordered(self, scores: dict[str, Ranking]) -> dict[str, Ranking]:
        made = {
            member.path: worth.order(member, fallen)
            for worth, fallen in zip(self.worths, self.fallen, strict=True)
            for member in worth.pool.members
        }
        return {path: made[path] for path in scores}

    def _worths(self, scores: Mapping[str, Ranking]) -> list[Worth]:
        return [Worth(pool, scores, self.squared) for pool in self.pools]
