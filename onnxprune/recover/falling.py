"""Lets weights fall in steps while a model is brought back, as it is by then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxprune.allocations.curves import Ratios
from onnxprune.calibrating import Calibrator, layouts_of, on_samples
from onnxprune.choosing import measured, resolve
from onnxprune.filters import of_filters
from onnxprune.gradual import Measuring, Progressed, masks_of, plan_step
from onnxprune.recover.workshop import Workshop
from onnxprune.translating import Translated
from onnxprune.types import Array, Recipe, Weight


@dataclass(slots=True, eq=False)
class Falling:
    """Decides, for the values as they are, which weights fall next.

    Args:
        shop: the model and its values.
        calibrator: measures it, if the method asks for that.
        recipe: what was asked.
        weights: those that are pruned.
        ratios: of `--allocation from:FILE`.
        events: in how many steps.
        done: the step that was taken last, and its masks.
        notes: what a user should know.
    """

    shop: Workshop
    calibrator: Calibrator
    recipe: Recipe
    weights: Sequence[Weight]
    ratios: Ratios | None
    events: int
    done: Progressed = field(default_factory=Progressed)
    notes: list[str] = field(default_factory=list)
    _measuring: Measuring | None = None

    def __call__(self, step: int) -> None:
        """Let weights fall for the so manieth time."""
        score, _ = resolve(self.recipe)
        statistics = {}
        if measured(self.recipe):
            statistics = dict(self._measure(step))
        now = step, self.events, self.recipe.schedule or "cubic"
        plan = plan_step(
            self.recipe,
            self.weights,
            self._values,
            self.ratios,
            score,
            statistics,
            self.done,
            now,
        )
        masks = masks_of(plan, self._values)
        self.done = Progressed(step, {**self.done.masks, **masks})
        self.shop.put_masks(masks, of_filters(self.recipe))

    def _values(self, path: str, start: int, stop: int) -> Array:
        """Read a weight as it is now, zero where it fell; if it may return, as it was there."""
        names, state = self.shop.names, self.shop.state
        now = names.read(path, start, stop)
        if path not in self.done.masks or not resolve(self.recipe)[0].regrow:
            return now
        dense = state.dense[names.inner(path)].cpu().contiguous().numpy().reshape(-1)
        before = names.outward(path, dense)[start:stop]
        return np.where(self.done.masks[path][start:stop], now, before)

    def _measure(self, step: int) -> Mapping[str, Mapping[str, Any]]:
        """Measure the model with the values that it has by now."""
        shop, names = self.shop, self.shop.names
        if self._measuring is None:
            paths = [names.inner(weight.path) for weight in self.weights]
            sampled = on_samples(self.recipe)
            collector, _ = self.calibrator.collector(shop.model, self.recipe, paths, sampled)
            collector.module.tensors = shop.module.tensors
            self._measuring = collector
            if names.places:
                layouts = {weight.path: weight.layout for weight in self.weights}
                inner = layouts_of(shop.model)
                places = {path: names.places[path] for path in layouts}
                self._measuring = Translated(collector, places, layouts, inner)
        found = self._measuring.collect(measured(self.recipe), None, step)
        self.notes += [note for note in self._measuring.notes if note not in self.notes]
        return found
