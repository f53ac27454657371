"""What a pattern makes of a plan: of candidates, of budgets, and of what tensors are cut by."""

from collections.abc import Mapping
from typing import Protocol

from onnxprune.allocations.candidate import Candidate
from onnxprune.errors import UsageError
from onnxprune.patterns.derived import Worth, lift_kept
from onnxprune.patterns.pattern import Blocks, Filters, Groups, Pattern, Unstructured
from onnxprune.patterns.rounding import Stock, whole_units
from onnxprune.patterns.structure import couplings_of
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
        self.filters = isinstance(pattern, Filters)
        self.squared = recipe.options.get("norm") == "l2"
        self.tilings = {c.weight.path: tile(pattern, c.weight.layout) for c in candidates}
        weights = [candidate.weight for candidate in candidates]
        self.couplings = (
            couplings_of(weights) if self.filters else [(w.path,) for w in weights]
        )
        caps = {c.weight.path: c.limit for c in candidates}
        multiple = recipe.channel_multiple if self.filters else 1
        self.stocks = [self._stock(each, caps, gone, multiple) for each in self.couplings]
        self.worth = self._worth({c.weight.path: c.scores for c in candidates})
        sizes = self.worth
        if any(candidate.scores is not candidate.magnitudes for candidate in candidates):
            sizes = self._worth({c.weight.path: c.magnitudes for c in candidates})
        limits = {
            path: stock.most * self.tilings[path].size
            for stock, coupling in zip(self.stocks, self.couplings, strict=True)
            for path in coupling
        }
        self.candidates = []
        for weight in weights:
            scores, number = self.worth[weight.path]
            size, _ = sizes[weight.path]
            ranking = scores.of_weights(number)
            same = ranking if size is scores else size.of_weights(number)
            self.candidates.append(Candidate(weight, ranking, same, limits[weight.path]))

    def fixed(self, zeros: int) -> dict[str, int] | None:
        del zeros
        return None

    def within_reach(self, zeros: int) -> int:
        reach = sum(candidate.limit for candidate in self.candidates)
        step = max(stock.size * stock.multiple for stock in self.stocks)
        return reach if reach < zeros < reach + step else zeros

    def settled(self, budgets: dict[str, int], zeros: int) -> dict[str, int]:
        weights = [sum(budgets[path] for path in each) for each in self.couplings]
        units = whole_units(self.stocks, weights, zeros)
        found = {
            path: number * self.tilings[path].size
            for number, coupling in zip(units, self.couplings, strict=True)
            for path in coupling
        }
        return {path: found[path] for path in budgets}

    def ordered(self, scores: dict[str, Ranking]) -> dict[str, Ranking]:
        return {path: self.worth[path][0].order(self.worth[path][1]) for path in scores}

    def _worth(self, scores: Mapping[str, Ranking]) -> dict[str, tuple[Worth, int]]:
        """Return what each tensor's units are worth, and its number among those coupled."""
        found: dict[str, tuple[Worth, int]] = {}
        for coupling in self.couplings:
            members = [(scores[path], self.tilings[path]) for path in coupling]
            worth = Worth(members, self.squared)
            found |= {path: (worth, number) for number, path in enumerate(coupling)}
        return found

    def _stock(
        self,
        coupling: tuple[str, ...],
        caps: Mapping[str, int],
        gone: Mapping[str, Array],
        multiple: int,
    ) -> Stock:
        """Count the units of tensors that lose them together, and how many may fall."""
        first, *others = (self.tilings[path] for path in coupling)
        if any(tiling.count != first.count for tiling in others):
            raise ValueError(f"{', '.join(coupling)}: coupled, with other numbers of outputs")
        limits = [caps[path] // self.tilings[path].size for path in coupling]
        before = gone.get(coupling[0])
        return Stock(
            count=first.count,
            size=sum(self.tilings[path].size for path in coupling),
            # Of filters at least one stays.
            limit=min(*limits, first.count - self.filters),
            fallen=0 if before is None else int(before.sum()) // first.size,
            multiple=multiple,
        )
