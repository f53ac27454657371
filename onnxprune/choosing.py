"""What a recipe names: tensors by globs, a method and an allocation."""

from fnmatch import fnmatchcase

from onnxprune.errors import UsageError
from onnxprune.registry import Entry, find
from onnxprune.types import Recipe, Weight


def matches(pattern: str, weight: Weight) -> bool:
    """Whether a glob matches a tensor's path, its own name or its node."""
    return fits(pattern, weight.path, weight.node)


def fits(pattern: str, path: str, *others: str) -> bool:
    """Whether a glob matches a tensor's path, its own name or another one."""
    names = (path, path.rpartition("/")[2], *others)
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


def measured(recipe: Recipe) -> tuple[str, ...]:
    """Return the statistics for which a recipe's method and allocation need the model to run."""
    return tuple(dict.fromkeys(name for each in resolve(recipe) for name in each.measured))
