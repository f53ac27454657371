"""Whole filters in a model: which may not vanish, and what goes with those that do."""

from collections.abc import Sequence

import numpy as np

from onnxprune.formats.endings import endings
from onnxprune.formats.followers import followers_of
from onnxprune.formats.loading import Model
from onnxprune.gradual import Masks, masks_of
from onnxprune.patterns.pattern import Filters, parse_pattern
from onnxprune.patterns.structure import structured
from onnxprune.planning import Plan
from onnxprune.types import Array, Recipe, Weight


def of_filters(recipe: Recipe) -> bool:
    """Whether a recipe lets whole filters fall."""
    return isinstance(parse_pattern(recipe.pattern), Filters)


def weights_for(model: Model, recipe: Recipe) -> list[Weight]:
    """Return a model's weights with what a recipe has to know of their outputs."""
    if not of_filters(recipe):
        return model.weights
    return structured(model.weights, endings(model))


def take_followers(model: Model, recipe: Recipe, plan: Plan) -> None:
    """Let biases and normalisations go with whole filters, and say where they stay."""
    if not of_filters(recipe):
        return
    masks = masks_of(plan, model.values)
    plan.followers, apart = followers_of(model, fallen_filters(masks, plan.weights))
    if apart:
        listed = ", ".join(f"'{path}'" for path in apart[:3]) + (", …" if apart[3:] else "")
        plan.warnings.append(f"what is added behind these filters stays as it is: {listed}")


def fallen_filters(masks: Masks, weights: Sequence[Weight]) -> dict[str, Array]:
    """Return which outputs of each weight fell as wholes, where any did."""
    found: dict[str, Array] = {}
    for weight in weights:
        rows = np.logical_not(weight.layout.matrix(masks[weight.path]).any(axis=1))
        if rows.any():
            found[weight.path] = rows
    return found
