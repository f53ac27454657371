"""Divides a number of zeros among tensors, and holds allocations to their contract."""

import math
from fractions import Fraction
from typing import Any

from onnxprune.allocations.candidate import Candidate, out_of_reach
from onnxprune.allocations.curves import Ratios
from onnxprune.choosing import matches
from onnxprune.errors import OnnxpruneError, TargetError, UsageError
from onnxprune.recipe import own_options
from onnxprune.registry import Entry
from onnxprune.scoring import Given
from onnxprune.types import Recipe


def budgets(  # noqa: PLR0913 - the parts of one decision
    recipe: Recipe,
    allocate: Entry,
    candidates: list[Candidate],
    zeros: int,
    ratios: Ratios | None,
    given: Given | None,
) -> dict[str, int]:
    """Divide zeros among tensors: first what --layer fixes, then the rest by the allocation."""
    found: dict[str, int] = {}
    total = sum(candidate.weight.size for candidate in candidates)
    free = _fix(recipe, found, candidates)
    rest = zeros - sum(found.values())
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
            counts = _divide(recipe, allocate, free, rest, ratios, given)
        except TargetError as error:
            # What an allocation calls feasible holds for the tensors it is given.
            if len(free) < len(candidates):
                error.hint = "these are the weights that --layer leaves free"
            raise
    for candidate, count in zip(free, counts, strict=True):
        found[candidate.weight.path] = count
    return {each.weight.path: found[each.weight.path] for each in candidates}


def _fix(
    recipe: Recipe, found: dict[str, int], candidates: list[Candidate]
) -> list[Candidate]:
    """Set the budgets that --layer fixes; return the other tensors."""
    free = []
    for candidate in candidates:
        weight = candidate.weight
        fixed = [s for pattern, s in recipe.layer.items() if matches(pattern, weight)]
        if not fixed:
            free.append(candidate)
            continue
        zeros = found[weight.path] = round(fixed[-1] * weight.size)
        if zeros > candidate.limit:
            raise TargetError(
                f"--layer makes {zeros:,} zeros in '{weight.path}',"
                f" the caps on tensors allow {candidate.limit:,}",
                "--max-layer-sparsity and --min-kept hold for every tensor",
            )
    return free


def _divide(  # noqa: PLR0913 - the parts of one decision
    recipe: Recipe,
    allocate: Entry,
    candidates: list[Candidate],
    zeros: int,
    ratios: Ratios | None,
    given: Given | None,
) -> list[int]:
    """Let the allocation divide the zeros, and hold it to its contract."""
    if "ratios" in allocate.needs and ratios is None:
        raise UsageError(
            f"{allocate.name} takes its ratios from a file", "--allocation from:FILE names it"
        )
    needs: dict[str, Any] = {"ratios": ratios} if "ratios" in allocate.needs else {}
    for name in allocate.measured:
        assert given is not None
        needs[name] = {
            each.weight.path: given.arranged(name, each.weight) for each in candidates
        }
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
