"""Plans that do more than take weights away: what is left is brought back to what it did."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from onnxprune.allocations.curves import Ratios
from onnxprune.calibrating import Calibrator
from onnxprune.choosing import measured, resolve
from onnxprune.errors import UsageError
from onnxprune.filters import of_filters
from onnxprune.formats.loading import Model
from onnxprune.gradual import GradualPlan, Masks, masks_of
from onnxprune.planning import Plan, adjustable
from onnxprune.pruning import Progress as Told
from onnxprune.recover.attempts import Attempts
from onnxprune.recover.falling import Falling
from onnxprune.recover.layerwise import Layers
from onnxprune.recover.storing import round_values
from onnxprune.recover.training import train
from onnxprune.recover.workshop import Workshop, open_workshop
from onnxprune.recoveries import Recovery
from onnxprune.scoring import Values
from onnxprune.statistics.determinism import reproducible
from onnxprune.statistics.estimation import device_name
from onnxprune.types import Array, Recipe, Weight

LAYER_SAMPLES = 1024
"""Samples that layers are fitted on, of those that are not held out."""

ROOM = 24
"""Letters of a name that progress shows, its last ones."""

STEPS = 100
"""How many times weights fall while a model is trained, unless the user says otherwise."""


class Recovering:
    """Plans recipes for one model, and wins back what their masks cost.

    Args:
        calibrator: decides masks, and knows the samples.
        progress: is told how far the work is.
    """

    def __init__(self, calibrator: Calibrator, progress: Told | None = None) -> None:
        self.calibrator = calibrator
        self.progress = progress

    def __call__(
        self,
        model: Model,
        recipe: Recipe,
        values: Values,
        ratios: Ratios | None,
        weights: Sequence[Weight],
    ) -> Plan:
        """Decide a recipe for some of a model's weights."""
        score, _ = resolve(recipe)
        by_training = "distill" in recipe.recover
        at_once = replace(recipe, steps=recipe.steps if measured(recipe) else None)
        plan = self.calibrator(model, at_once, values, ratios, weights)
        usual = score.steps if measured(recipe) else STEPS
        events = (recipe.steps or usual) if by_training or recipe.steps else 1
        if recipe.sparsity is None or recipe.rewind is not None:
            # What goes in all is not known, or was decided by the weights as they are here.
            events = 1
        masks = masks_of(plan, values)
        return self.recover(model, recipe, plan, masks, ratios, events)

    def recover(  # noqa: PLR0913 - a model, its masks, and how they may be found anew
        self,
        model: Model,
        recipe: Recipe,
        plan: Plan,
        masks: Masks,
        ratios: Ratios | None = None,
        events: int = 1,
    ) -> GradualPlan:
        """Win back what masks cost.

        Args:
            model: the open model.
            recipe: what was asked.
            plan: what was decided.
            masks: the weights that it keeps.
            ratios: of `--allocation from:FILE`.
            events: how many times weights may fall on the way; 1 for these masks alone.
        """
        if not self.calibrator.company.alone:
            raise UsageError("--recover works in one process", "run it without torchrun")
        if recipe.rewind is not None and set(recipe.recover) != {"distill"}:
            raise UsageError(
                "--rewind starts from other weights, which no layer can be fitted to",
                "--recover distill trains them, --rewind alone writes them",
            )
        with contextlib.ExitStack() as stack, reproducible():
            weights = adjustable(recipe, model.weights, plan.weights)
            shop = open_workshop(model, recipe, weights, self.calibrator, stack)
            falling = Falling(shop, self.calibrator, recipe, plan.weights, ratios, events)
            return self._work(model, recipe, shop, plan, masks, falling)

    def _work(  # noqa: PLR0913 - what is worked with, and on what
        self,
        model: Model,
        recipe: Recipe,
        shop: Workshop,
        plan: Plan,
        masks: Masks,
        falling: Falling,
    ) -> GradualPlan:
        state, judge = shop.state, shop.judge
        dense = judge.settle()
        shop.put_masks(masks, of_filters(recipe))
        pruned = judge.stand(state.current())
        bare = state.snapshot(), dict(state.masks)
        attempts = Attempts(state, judge, pruned)
        layers = self._layers(shop)
        self._try(recipe, shop, attempts, layers, falling)
        final = round_values(shop, model, attempts)
        if not final.better_than(pruned):
            attempts.go_back(*bare)
            final = pruned
        changed = state.changed(sorted(state.free))
        recovery = Recovery(
            source=shop.samples.source,
            fitted=shop.pool.count(shop.pool.trained),
            held=judge.count,
            matched=tuple(shop.matched.values),
            dense=dense,
            pruned=pruned,
            steps=tuple(attempts.steps),
            final=final,
            changed=len(changed),
            created=tuple(name for name in shop.created.values() if name in changed),
            device=device_name(shop.module.device),
        )
        return _planned(plan, masks, shop, changed, recovery, [*layers.notes, *falling.notes])

    def _try(
        self,
        recipe: Recipe,
        shop: Workshop,
        attempts: Attempts,
        layers: Layers,
        falling: Falling,
    ) -> None:
        """Try all that was asked for, in order."""
        names = [name for name in recipe.recover if name != "distill"]
        trained = "distill" in recipe.recover
        if falling.events > 1 and not trained:
            attempts.attempt("in steps", partial(_step_by_step, shop, layers, names, falling))
            return
        for name in names:
            attempts.attempt(name, partial(_layerwise, layers, name))
        if trained:
            train(shop, recipe, attempts, falling, self.calibrator, self.progress)

    def _layers(self, shop: Workshop) -> Layers:
        def told(path: str, done: int, total: int) -> None:
            if self.progress is not None:
                shown = f": {path[-ROOM:]}" if path else ""
                self.progress(f"fitting layers{shown}", done, total)

        paths = [shop.names.inner(weight.path) for weight in shop.chosen]
        return Layers(
            shop.module,
            shop.state,
            shop.pool,
            shop.estimation.batch,
            LAYER_SAMPLES,
            paths,
            shop.surroundings(),
            shop.constant,
            told,
        )


def _layerwise(layers: Layers, name: str) -> str:
    """Do one of the things that need no gradient."""
    if name == "refit":
        layers.refit()
    elif name == "sparsegpt":
        layers.reconstruct()
    else:
        layers.correct(scaled=name == "statistics")
    return ""


def _step_by_step(
    shop: Workshop, layers: Layers, names: Sequence[str], falling: Falling
) -> str:
    """Let weights fall in steps, and do all that needs no gradient after each."""
    shop.start_anew()
    for step in range(1, falling.events + 1):
        falling(step)
        for name in names:
            _layerwise(layers, name)
    return f"{', '.join(names)} after each of {falling.events} steps"


def _planned(  # noqa: PLR0913 - the parts of what was found
    plan: Plan,
    masks: Masks,
    shop: Workshop,
    changed: dict[str, Array],
    recovery: Recovery,
    notes: Sequence[str],
) -> GradualPlan:
    """Put what was found into a plan, by the names and in the order of the file."""
    names, state = shop.names, shop.state
    found = {}
    for path in masks:
        kept = state.masks[names.inner(path)].cpu().contiguous().numpy().reshape(-1)
        found[path] = names.outward(path, kept)
    zeros = {path: int(mask.size - mask.sum()) for path, mask in found.items()}
    created = {name: weight for weight, name in shop.created.items()}
    back = {inner: path for path, (inner, _) in names.places.items()}
    values, additions = {}, {}
    for name, array in changed.items():
        if name in created:
            additions[created[name]] = array
        else:
            path = back.get(name, name)
            values[path] = names.outward(path, array)
    emptied = [path for path, mask in found.items() if not mask.any()]
    said = [each for each in plan.warnings if "ends with no weight" not in each]
    said += [f"'{path}' ends with no weight at all" for path in emptied]
    return GradualPlan(
        weights=plan.weights,
        skipped=plan.skipped,
        zeros=zeros,
        warnings=[*said, *notes],
        calibration=plan.calibration,
        masks=found,
        values=values,
        additions=additions,
        recovery=recovery,
    )
