"""Whole filters in a model: which may not vanish, and what goes with those that do."""

from collections.abc import Mapping, Sequence

import numpy as np

from onnxprune.formats.endings import endings
from onnxprune.formats.followers import followers_of
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.gradual import Masks, masks_of
from onnxprune.patterns.pattern import Filters, parse_pattern
from onnxprune.patterns.structure import structured
from onnxprune.planning import Plan
from onnxprune.structure.followers import find_followers
from onnxprune.structure.groups import couplings, find_channels
from onnxprune.structure.removing import value_shapes
from onnxprune.types import Array, Recipe, Weight


def of_filters(recipe: Recipe) -> bool:
    """Whether a recipe lets whole filters fall."""
    return isinstance(parse_pattern(recipe.pattern), Filters)


def weights_for(model: Model, recipe: Recipe) -> list[Weight]:
    """Return a model's weights with what a recipe has to know of their outputs.

    Channels that are to be taken out fall together where only all of them can be.
    """
    if not of_filters(recipe):
        return model.weights
    held = endings(model)
    if not (recipe.remove and isinstance(model, OnnxModel)):
        return structured(model.weights, held)
    groups = find_channels(model, value_shapes(model))
    units = couplings(groups, model.weights)
    return structured(model.weights, held, units, find_followers(model, groups))


def take_followers(model: Model, recipe: Recipe, plan: Plan) -> None:
    """Let biases and normalisations go with whole filters, and say where they stay."""
    if not of_filters(recipe):
        return
    fallen = fallen_filters(masks_of(plan, model.values), plan.weights)
    plan.followers, apart = followers_of(model, fallen)
    for path, gone in followers_of_units(plan.weights, fallen).items():
        plan.followers[path] = gone | plan.followers.get(path, False)
    # What is taken out tells itself of channels that had to stay.
    if apart and not recipe.remove:
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


def followers_of_units(
    weights: Sequence[Weight], fallen: Mapping[str, Array]
) -> dict[str, Array]:
    """Return which values of constants go with units of which nothing is left.

    Args:
        weights: those that are pruned.
        fallen: which of their outputs fell as wholes, by path.
    """
    left: set[int] = set()
    gone: set[int] = set()
    for weight in weights:
        rows = fallen.get(weight.path, np.zeros(len(weight.units), bool))
        for unit, fell in (
            zip(weight.units, rows.tolist(), strict=True) if weight.units else ()
        ):
            (gone if fell else left).add(unit)
    lost = np.array(sorted(gone - left), np.int64)
    found: dict[str, Array] = {}
    for each in {each.path: each for weight in weights for each in weight.followers}.values():
        along = np.isin(each.units, lost)
        if along.any():
            shape = [1] * len(each.shape)
            shape[each.axis] = len(along)
            found[each.path] = np.broadcast_to(along.reshape(shape), each.shape).ravel()
    return found
