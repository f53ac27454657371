"""What a pattern asks of the other fields of a recipe, and what it lends them."""

from dataclasses import replace
from typing import Any

from onnxprune.errors import UsageError
from onnxprune.patterns.pattern import Blocks, Filters, Groups, Pattern
from onnxprune.types import Recipe

NORMS = ("l1", "l2")
"""How the scores of a unit become one: their mean, or the root of their mean square."""

ROUNDED = 1e-3
"""A sparsity may be spelt so far from the pattern's: thirds have no last digit."""

EVEN = "uniform"
"""The allocation that divides zeros as N:M does."""


def fit_pattern(recipe: Recipe, pattern: Pattern) -> Recipe:
    """Refuse a recipe that contradicts its pattern; fill in what the pattern settles."""
    if recipe.channel_multiple != 1 and not isinstance(pattern, Filters):
        raise UsageError("--channel-multiple is of whole filters", "--pattern filters")
    if recipe.remove and not isinstance(pattern, Filters):
        raise UsageError(
            f"--remove takes out whole filters, and --pattern {pattern} leaves weights in each",
            "--pattern filters, or --remove alone",
        )
    return _fit_groups(recipe, pattern) if isinstance(pattern, Groups) else recipe


def method_options(recipe: Recipe, pattern: Pattern) -> dict[str, Any]:
    """Return the options that are not the pattern's, which are checked."""
    options = dict(recipe.options)
    if isinstance(pattern, Blocks | Filters) and "norm" in options:
        norm = options.pop("norm")
        if norm not in NORMS:
            raise UsageError(f"--set norm is {' or '.join(NORMS)}, not '{norm}'")
    return options


def refuse_conflict(recipe: Recipe, pattern: Pattern, allocation: str, named: bool) -> None:
    """Refuse comparisons that a pattern has no use for: named allocations, rows.

    Args:
        recipe: what was asked.
        pattern: its pattern.
        allocation: the allocation.
        named: whether the recipe's method is that allocation.
    """
    if recipe.group == "row" and isinstance(pattern, Blocks | Filters):
        raise UsageError(f"--group row compares single weights, --pattern {pattern} none")
    asked = named or recipe.allocation is not None
    if isinstance(pattern, Groups) and asked and allocation != EVEN:
        raise UsageError(
            f"--pattern {pattern} fixes the sparsity of every tensor, so that {allocation} has"
            " nothing to divide",
            "--method takes what scores weights, such as magnitude or wanda",
        )


def refuse_search(recipe: Recipe, pattern: Pattern) -> None:
    """Refuse to search for what a pattern settles."""
    if isinstance(pattern, Groups):
        raise UsageError(
            f"--pattern {pattern} fixes the sparsity, there is nothing to search",
            f"onnxprune prune takes --pattern {recipe.pattern}, with a gate if wanted",
        )


def _fit_groups(recipe: Recipe, pattern: Groups) -> Recipe:
    fixed = float(pattern.sparsity)
    what = f"--pattern {pattern} fixes the sparsity of every tensor to {fixed:.4g}"
    if recipe.sparsity is not None and abs(recipe.sparsity - fixed) > ROUNDED:
        raise UsageError(f"{what}, asked was {recipe.sparsity:.4g}", f"give {fixed:.4g}")
    for glob, sparsity in recipe.layer.items():
        if abs(sparsity - fixed) > ROUNDED:
            raise UsageError(
                f"{what}, --layer {glob}={sparsity:.4g} is another",
                f"--exclude '{glob}' leaves tensors alone",
            )
    if recipe.max_layer_sparsity < fixed:
        raise UsageError(
            f"{what}, --max-layer-sparsity {recipe.max_layer_sparsity:.4g} is less"
        )
    layer = dict.fromkeys(recipe.layer, fixed)
    return replace(recipe, sparsity=fixed, layer=layer)
