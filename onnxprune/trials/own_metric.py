"""The user's own measure: finding its function, calling it, judging what it returns."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxprune.errors import UsageError
from onnxprune.foreign import load_function, said
from onnxprune.outcomes import OwnMetric
from onnxprune.types import Array

LABELS = "labels"
"""Under which name a metric finds the labels among the samples."""

Arrays = dict[str, Array]


@dataclass(frozen=True, slots=True)
class OwnFunction:
    """A function that says how good outputs are; more is better.

    Args:
        name: of its file or module, and its own.
        function: takes the outputs and the samples of a batch, each a dictionary of arrays.
        whole_set: whether it wants all samples at once.
    """

    name: str
    function: Callable[..., Any]
    whole_set: bool


def load_metric(spec: str | Callable[..., Any]) -> OwnFunction:
    """Return the function that `module:function` or `file.py:function` names, or that is given."""
    if isinstance(spec, str):
        return _described(*load_function(spec, "metric", "--metric"))
    name = getattr(spec, "__name__", type(spec).__name__)
    if not callable(spec):
        raise UsageError(f"metric {name} is no function but of type {type(spec).__name__}")
    return _described(spec, name)


class OwnMeasure:
    """The mean of a user's measure over both models' outputs, batch by batch."""

    def __init__(self, own: OwnFunction) -> None:
        self.own = own
        self._count = 0
        self._sums = [0.0, 0.0]
        self._kept: list[tuple[Arrays, Arrays, Arrays]] = []

    def update(
        self,
        dense: Mapping[str, Array],
        pruned: Mapping[str, Array],
        labels: Array | None,
        feeds: Mapping[str, Array],
    ) -> None:
        """Measure one batch, or keep it for a function that wants the whole set."""
        samples = dict(feeds)
        if labels is not None:
            samples[LABELS] = labels
        if self.own.whole_set:
            self._kept.append((_copies(dense), _copies(pruned), _copies(samples)))
        else:
            self._measure(dense, pruned, samples)

    def result(self) -> OwnMetric:
        """Return the means over all samples."""
        if self._kept:
            dense, pruned, samples = (
                self._joined([batch[part] for batch in self._kept]) for part in range(3)
            )
            self._kept = []
            self._measure(dense, pruned, samples)
        dense_sum, pruned_sum = self._sums
        count = max(1, self._count)
        return OwnMetric(self.own.name, dense_sum / count, pruned_sum / count)

    def _measure(
        self, dense: Mapping[str, Array], pruned: Mapping[str, Array], samples: Arrays
    ) -> None:
        # What has a dimension of samples for sure comes first.
        arrays = [samples.get(LABELS), *dense.values(), *samples.values()]
        count = next((len(a) for a in arrays if a is not None and a.ndim), 0)
        if not count:
            return
        self._count += count
        for model, outputs in enumerate((dense, pruned)):
            self._sums[model] += self._call(outputs, samples, count)

    def _call(
        self, outputs: Mapping[str, Array], samples: Mapping[str, Array], count: int
    ) -> float:
        """Return the sum over the samples of what the function says of them."""
        try:
            answer = self.own.function(_copies(outputs), _copies(samples))
        except (Exception, SystemExit) as error:
            raise UsageError(f"metric {self.own.name} failed: {said(error)}") from error
        values = self._numbers(answer, count)
        return float(values) * count if values.ndim == 0 else math.fsum(values)

    def _numbers(self, answer: object, count: int) -> Array:
        try:
            found = np.asarray(answer)
        except Exception as error:
            raise self._wrong(f"a {type(answer).__name__}", count) from error
        if found.dtype.kind not in "biuf":
            raise self._wrong(
                "None" if answer is None else f"a {type(answer).__name__}", count
            )
        if found.shape not in ((), (count,), (count, 1)):
            raise self._wrong(f"numbers of shape {found.shape}", count)
        values = found.astype(np.float64)
        if not np.isfinite(values).all():
            raise self._wrong("NaN" if np.isnan(values).any() else "infinity", count)
        return values.reshape(-1) if values.ndim else values

    def _wrong(self, found: str, count: int) -> UsageError:
        return UsageError(
            f"metric {self.own.name} returned {found}; it must return one finite number for"
            f" the {count:,} samples it got, or an array with one for each"
        )

    def _joined(self, batches: list[Arrays]) -> Arrays:
        joined = {}
        for name in batches[0]:
            try:
                joined[name] = np.concatenate([batch[name] for batch in batches])
            except (ValueError, KeyError) as error:
                raise UsageError(
                    f"metric {self.own.name} wants the whole set, but the batches of"
                    f" '{name}' differ in shape",
                    "without its attribute whole_set it gets batch by batch",
                ) from error
        return joined


def _described(function: Callable[..., Any], name: str) -> OwnFunction:
    return OwnFunction(name, function, bool(getattr(function, "whole_set", False)))


def _copies(arrays: Mapping[str, Array]) -> Arrays:
    """Copy arrays, so that whoever gets them can do what it likes."""
    return {name: array.copy() for name, array in arrays.items()}
