"""Holds a model that must compute the same against the model it was made of."""

import contextlib
from collections.abc import Mapping

import numpy as np

from onnxprune.errors import LibraryError
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.outcomes import Latency
from onnxprune.removals import Sameness
from onnxprune.trials.checking import DENSE, PRUNED, examining
from onnxprune.trials.examination import Progress
from onnxprune.trials.staging import variants_of
from onnxprune.trials.trial import Trial
from onnxprune.types import Array

TOLERANCES = {"float16": 4e-3, "bfloat16": 3e-2}
"""What differs by rounding in types of fewer bits, over the largest value."""

TOLERANCE = 1e-5


def tolerance_of(model: OnnxModel) -> float:
    """Return by how much outputs may differ by rounding alone, over the largest value."""
    kinds = {weight.dtype for weight in model.weights}
    return max([TOLERANCE, *(TOLERANCES.get(kind, 0.0) for kind in kinds)])


def compare_models(
    model: OnnxModel, other: OnnxModel, trial: Trial, progress: Progress | None = None
) -> tuple[Sameness, Latency | None]:
    """Run two models on the same samples; refuse one whose outputs are others.

    Args:
        model: the model as it was.
        other: what was made of it.
        trial: the samples; whether both are timed, too.
        progress: is told how far the comparison is.
    """
    allowed = tolerance_of(model)
    with contextlib.ExitStack() as stack:
        examination = stack.enter_context(examining(trial, model))
        for key, each in ((DENSE, model), (PRUNED, other)):
            variants = variants_of(each)
            stack.callback(variants.close)
            variants.open(examination.runner, key, {})
            if key == DENSE:
                examination.settle(DENSE, trial.batch)
        largest = 0.0
        for batch in examination.batches(progress, "comparing"):
            wanted = examination.answer(DENSE, batch)
            found = examination.answer(PRUNED, batch)
            largest = max(largest, difference(wanted, found, allowed))
        latency = examination.latency([DENSE, PRUNED]) if trial.latency else None
        facts = examination.facts()
        place = examination.runner.place
        assert place is not None
        same = Sameness(facts.samples, largest, allowed, place, facts.source, facts.batch)
        return same, latency


def difference(
    wanted: Mapping[str, Array], found: Mapping[str, Array], allowed: float
) -> float:
    """Return the largest difference of any output over the largest value of that output.

    Args:
        wanted: the outputs of the model as it was.
        found: those of the other one.
        allowed: more than this is an error that names the output.
    """
    largest = 0.0
    for name, first in wanted.items():
        second = found.get(name)
        if second is None or second.shape != first.shape:
            raise _other(name, "has another shape")
        if first.dtype.kind != "f":
            if not np.array_equal(first, second):
                raise _other(name, "has other values")
            continue
        apart = _apart(first.astype(np.float64), second.astype(np.float64))
        if not apart <= allowed:
            raise _other(name, f"differs by {apart:.2g} of its largest value")
        largest = max(largest, apart)
    return largest


def _apart(first: Array, second: Array) -> float:
    """Return the largest difference over the largest value; what is no number has to agree."""
    fine = np.isfinite(first)
    if not np.array_equal(fine, np.isfinite(second)):
        return float("inf")
    if not np.array_equal(first[~fine], second[~fine], equal_nan=True):
        return float("inf")
    scale = float(np.abs(first[fine]).max(initial=0.0))
    apart = float(np.abs(first[fine] - second[fine]).max(initial=0.0))
    return apart / scale if scale > 0 else (0.0 if apart == 0 else float("inf"))


def _other(name: str, how: str) -> LibraryError:
    return LibraryError(
        f"without its zero channels the model computes something else: output '{name}' {how}",
        "nothing was written; this is worth a report",
    )
