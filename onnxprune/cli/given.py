"""Turns groups of options into what the library takes: recipes, trials, settings."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxprune.cli.groups import Choice, Limits, Run, Set
from onnxprune.cli.recovery import Recovery
from onnxprune.errors import UsageError
from onnxprune.recipe import make_recipe, parse_sparsity, read_recipe
from onnxprune.types import Recipe

if TYPE_CHECKING:
    from onnxprune.trials.trial import Trial


def recipe_of(
    choice: Choice,
    method: str | None = None,
    sparsity: str | None = None,
    recovery: Recovery | None = None,
) -> Recipe:
    """Build a recipe from options and from the recipe file they name; options win."""
    given = asdict(choice) | asdict(recovery or Recovery())
    given |= {"method": method, "sparsity": sparsity}
    file = given.pop("recipe")
    own = own_options(choice.options or [])
    penalty = given.pop("magnitude_penalty")
    if penalty is not None:
        own["magnitude_penalty"] = penalty
    given["options"] = own or None
    given["include_embeddings"] = choice.include_embeddings or None
    given["remove"] = choice.remove or None
    values = read_recipe(file) if file is not None else {}
    filed = values.get("options")
    if isinstance(filed, dict) and given["options"]:
        given["options"] = filed | given["options"]
    values.update({name: value for name, value in given.items() if value is not None})
    assert set(values) <= {field.name for field in fields(Recipe)}
    return make_recipe(values)


def pruning_recipe(
    model: Path,
    choice: Choice,
    method: str | None,
    sparsity: str | None,
    recovery: Recovery,
) -> Recipe:
    """Build a recipe that says how much goes."""
    recipe = recipe_of(choice, method, sparsity, recovery)
    takes_total = (recipe.allocation or "").startswith("from:")
    if recipe.sparsity is None and not takes_total:
        raise UsageError(
            "how much should go? try --sparsity 0.5",
            f"onnxprune inspect {model} shows what is there",
        )
    return recipe


def checked(samples: Set, check: str | None) -> bool:
    """Whether a pruned model is run on samples."""
    return samples.data is not None or check is not None


def trial_of(
    samples: Set, run: Run, limits: Limits, data: str | None = None, seed: int = 0
) -> "Trial":
    """Build a trial from options.

    Args:
        samples: the samples and how they are read.
        run: where models run.
        limits: the gate.
        data: other samples than those of `--data`.
        seed: where random samples start.
    """
    from onnxprune.samples.reading import parse_reading
    from onnxprune.trials.trial import make_trial

    reading = parse_reading(
        inputs=samples.inputs,
        labels=samples.labels,
        image_size=samples.image_size,
        mean=samples.mean,
        std=samples.std,
        layout=samples.layout,
        channel_order=samples.channel_order,
        pixel_range=samples.pixel_range,
        shapes=samples.shape,
        cast=samples.cast,
        limit=samples.samples,
        seed=seed,
    )
    given = asdict(run)
    given["latency"] = not given.pop("no_latency")
    return make_trial(data or samples.data, reading=reading, **given, **asdict(limits))


def calibration_of(samples: Set, run: Run, seed: int) -> "Trial | None":
    """Build what methods measure models on, if there are samples for that."""
    if samples.data is None:
        return None
    return trial_of(samples, run, Limits(), seed=seed)


def example_of(recipe: Recipe, samples: Set, run: Run) -> "Trial | None":
    """Build what models are run on that have to compute the same, where no samples are named."""
    if not recipe.remove:
        return None
    from onnxprune.shrinking import RANDOM

    return trial_of(samples, run, Limits(), RANDOM, recipe.seed)


def words(text: str) -> list[str]:
    """Split a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def sparsities_of(text: str) -> list[float]:
    """Read a list of sparsities."""
    return [parse_sparsity(word, "--sparsities") for word in words(text)]


def own_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE pairs."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set takes NAME=VALUE, not '{pair}'")
        settings[name.replace("-", "_")] = value
    return settings
