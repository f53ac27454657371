"""The user's own measure: finding its function, calling it, judging what it returns."""

import importlib
import importlib.util
import math
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from onnxprune.errors import UsageError
from onnxprune.outcomes import OwnMetric
from onnxprune.types import Array

LABELS = "labels"
"""Under which name a metric finds the labels among the samples."""
HOW = "--metric takes FILE.py:FUNCTION or MODULE:FUNCTION"
USER = "onnxprune_user_metric_"

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
    if not isinstance(spec, str):
        return _described(spec, getattr(spec, "__name__", type(spec).__name__))
    place, colon, name = spec.rpartition(":")
    if not (colon and place and name):
        raise UsageError(f"metric '{spec}' names no function of a file or module", HOW)
    if place.endswith(".py"):
        module, shown = _module_of_file(Path(place)), Path(place).name
    else:
        module, shown = _module_of_name(place), place
    function = getattr(module, name, None)
    if function is None:
        names = sorted(
            key
            for key, value in vars(module).items()
            if callable(value) and not key.startswith("_")
        )
        found = f"it has {', '.join(names)}" if names else "it has none"
        raise UsageError(
            f"metric {shown} has no function '{name}'; {found}", _nearest(name, names)
        )
    return _described(function, f"{shown}:{name}")


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
            said = " ".join(str(error).split())
            what = f"{type(error).__name__}: {said}" if said else type(error).__name__
            raise UsageError(f"metric {self.own.name} failed: {what}") from error
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


def _described(function: object, name: str) -> OwnFunction:
    if not callable(function):
        kind = type(function).__name__
        raise UsageError(f"metric {name} is no function but of type {kind}", HOW)
    return OwnFunction(name, function, bool(getattr(function, "whole_set", False)))


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        folder = path.parent
        names = [each.name for each in folder.glob("*.py")] if folder.is_dir() else []
        raise UsageError(f"metric file {path} does not exist", _nearest(path.name, names))
    # The path tells it from another file of the same name.
    name = f"{USER}{path.stem}_{zlib.crc32(os.fsencode(path.resolve())):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"metric file {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _importing(path.parent, f"metric file {path}"):
        spec.loader.exec_module(module)
    return module


def _module_of_name(name: str) -> ModuleType:
    folder = Path.cwd()
    try:
        with _importing(folder, f"metric module {name}"):
            importlib.invalidate_caches()
            return importlib.import_module(name)
    except UsageError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise
        names = [each.stem for each in folder.glob("*.py")]
        raise UsageError(
            f"metric module {name} is neither installed nor in the current folder",
            _nearest(name, names) or HOW,
        ) from cause


@contextmanager
def _importing(folder: Path, what: str) -> Iterator[None]:
    """Let a module import its neighbours, and say what keeps it from being imported."""
    path = str(folder.resolve())
    sys.path.insert(0, path)
    try:
        yield
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{what} does not load: {type(error).__name__}: {said}") from error
    finally:
        if path in sys.path:
            sys.path.remove(path)


def _nearest(name: str, names: list[str]) -> str | None:
    near = get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else None


def _copies(arrays: Mapping[str, Array]) -> Arrays:
    """Copy arrays, so that whoever gets them can do what it likes."""
    return {name: array.copy() for name, array in arrays.items()}
