"""What two models' outputs have in common, batch by batch; `classes` and `values` say how."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.outcomes import Measured, OutputCheck, Port
from onnxprune.trials.classes import Decisions, ScoreMeasure, labels_fit
from onnxprune.trials.intervals import drop_interval, share_interval
from onnxprune.trials.own_metric import OwnFunction, OwnMeasure
from onnxprune.trials.values import ValueMeasure
from onnxprune.types import Array

FLOATS, INTEGERS, STRINGS = "f", "biu", "OSU"
KIND_SCORES, KIND_CLASSES, KIND_VALUES = "scores", "classes", "values"
MOST_NAMED = 3


class Measures:
    """All that is measured of two models while they run on the same samples.

    Args:
        outputs: of the dense model; those that are no tensors may be missing from batches.
        task: `classes` takes any row of floats for scores of classes, `values` none, `auto`
            those that labels fit or that are probabilities.
        own: the user's own measure.
    """

    def __init__(
        self, outputs: Sequence[Port], task: str = "auto", own: OwnFunction | None = None
    ) -> None:
        self._ports = outputs
        self._task = task
        self._outputs = {port.name: _OutputMeasure(port.name, task) for port in outputs}
        self._own = OwnMeasure(own) if own is not None else None
        self._labels = _Labels()
        self._interval: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the lost accuracy, or else of the lost agreement.

        There is none before the result, for a user's own measure, and where samples have
        more than one answer each, which are not independent.
        """
        return self._interval

    def update(
        self,
        dense: Mapping[str, Array],
        pruned: Mapping[str, Array],
        labels: Array | None,
        feeds: Mapping[str, Array],
        start: int,
    ) -> None:
        """Measure one batch.

        Args:
            dense: the dense model's outputs; the first dimension counts samples.
            pruned: the pruned model's.
            labels: one for each sample, or for each position of each sample.
            feeds: what the models were given.
            start: the number of the first sample.
        """
        for port in self._ports:
            found = {"dense": dense.get(port.name), "pruned": pruned.get(port.name)}
            if port.dtype is None and all(array is None for array in found.values()):
                continue
            for model, array in found.items():
                if array is None:
                    raise InputError(f"the {model} model's output '{port.name}' is missing")
            self._outputs[port.name].update(
                np.atleast_1d(dense[port.name]),
                np.atleast_1d(pruned[port.name]),
                labels,
                start,
            )
        self._labels.update(labels)
        if self._own is not None:
            self._own.update(dense, pruned, labels, feeds)

    def result(self) -> Measured:
        """Return what was measured, after the last batch."""
        seen = [output for output in self._outputs.values() if output.shape is not None]
        if not seen and self._own is None:
            names = ", ".join(f"'{port.name}'" for port in self._ports[:MOST_NAMED])
            raise InputError(f"no output can be compared ({names} gave no arrays)")
        checks = tuple(output.result() for output in seen)
        measured = Measured(checks, self._own.result() if self._own is not None else None)
        asked = self._labels.shape is not None and self._task != "values"
        if asked and self._own is None and measured.accuracy is None:
            raise self._labels.unfit(seen)
        self._interval = self._find_interval(measured)
        return measured

    def _find_interval(self, measured: Measured) -> tuple[float, float] | None:
        samples = {output.name: output.samples for output in self._outputs.values()}
        if measured.own is not None:
            return None
        for check in measured.outputs:
            if check.top1 is not None:
                single = check.top1.total == samples[check.name]
                return drop_interval(check.top1) if single else None
        for check in measured.outputs:
            if check.answers:
                single = check.answers == samples[check.name]
                lost = check.answers - check.agreed
                return share_interval(lost, check.answers) if single else None
        return None


class _OutputMeasure:
    """What is measured of one output; what it is, is known when all batches were seen."""

    def __init__(self, name: str, task: str) -> None:
        self.name = name
        self.task = task
        self.samples = 0
        self.shape: tuple[int, ...] | None = None
        # Each holds as long as every batch agrees: one row of classes for a sample, labels
        # for all decisions, labels that are among the classes.
        self.single = self.shaped = self.ranged = True
        self._kind = KIND_VALUES
        self._identical = True
        self._decisions = Decisions()
        self._scores = ScoreMeasure()
        self._values = ValueMeasure()

    def update(self, dense: Array, pruned: Array, labels: Array | None, start: int) -> None:
        """Measure one batch."""
        self._refuse(dense, pruned, start)
        self.shape = self.shape or dense.shape
        self._identical = self._identical and _same_bits(dense, pruned)
        if not dense.shape[0]:
            return
        self.samples += len(dense)
        family = dense.dtype.kind
        if family in STRINGS:
            self._kind, self.shaped = KIND_CLASSES, False
            self._decisions.update(dense.astype(object), pruned.astype(object), None)
        elif family in INTEGERS and self.task != "values":
            self._kind = KIND_CLASSES
            self._update_classes(dense, pruned, labels)
        else:
            self._values.update(dense, pruned)
            if self.task != "values":
                self._update_scores(dense, pruned, labels)

    def result(self) -> OutputCheck:
        """Return what all batches showed."""
        fit = self.samples > 0 and self.shaped and self.ranged
        if self._kind == KIND_CLASSES:
            return OutputCheck(
                self.name,
                KIND_CLASSES,
                self._identical,
                top1=self._decisions.top1.accuracy() if fit else None,
                agreed=self._decisions.agreed,
                answers=self._decisions.answers,
            )
        scores, decisions = self._scores, self._scores.decisions
        likely = self.single and (self.task == "classes" or scores.probabilities)
        decides = decisions.answers > 0 and (fit or likely) and self.task != "values"
        return OutputCheck(
            self.name,
            KIND_SCORES if decides else KIND_VALUES,
            self._identical,
            top1=decisions.top1.accuracy() if fit and decides else None,
            top5=scores.top5_accuracy() if fit and decides else None,
            agreed=decisions.agreed if decides else 0,
            answers=decisions.answers if decides else 0,
            kl=scores.divergence() if decides else None,
            cosine=self._values.cosine(),
            sqnr=self._values.sqnr(),
            max_abs=self._values.max_abs,
        )

    def _update_classes(self, dense: Array, pruned: Array, labels: Array | None) -> None:
        self.shaped = self.shaped and labels_fit(labels, dense.shape)
        fitting = labels.reshape(dense.shape) if labels is not None and self.shaped else None
        self._decisions.update(dense, pruned, fitting)

    def _update_scores(self, dense: Array, pruned: Array, labels: Array | None) -> None:
        classes = dense.shape[1] if dense.ndim > 1 else 0
        places = (dense.shape[0], *dense.shape[2:])
        self.single = self.single and classes > 1 and math.prod(places) == len(dense)
        self.shaped = self.shaped and classes > 1 and labels_fit(labels, places)
        fitting = labels if self.shaped else None
        if fitting is not None and fitting.size:
            inside = bool(fitting.min() >= 0 and fitting.max() < classes)
            self.ranged = self.ranged and inside
        if not self.ranged:
            fitting = None
        if self.single or fitting is not None:
            self._scores.update(dense, pruned, fitting)

    def _refuse(self, dense: Array, pruned: Array, start: int) -> None:
        """Refuse what has no meaning beside each other."""
        if dense.shape != pruned.shape:
            raise InputError(
                f"output '{self.name}' has shape {dense.shape} in the dense model and"
                f" {pruned.shape} in the pruned one"
            )
        for model, array in (("dense", dense), ("pruned", pruned)):
            if array.dtype.kind not in FLOATS + INTEGERS + STRINGS:
                raise UnsupportedError(
                    f"output '{self.name}' of type {array.dtype} cannot be compared"
                )
            if array.dtype.kind in FLOATS:
                wrong = np.isnan(array).any(axis=tuple(range(1, array.ndim)))
                if wrong.any():
                    raise InputError(
                        f"the {model} model's output '{self.name}' is NaN at sample"
                        f" {start + int(wrong.argmax())}"
                    )
        if _family(dense) != _family(pruned):
            raise InputError(
                f"output '{self.name}' is {dense.dtype} in the dense model and"
                f" {pruned.dtype} in the pruned one"
            )


class _Labels:
    """What an error can say of labels that fit no output."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] | None = None
        self._range: tuple[int, int] | None = None

    def update(self, labels: Array | None) -> None:
        """Look at the labels of one batch."""
        if labels is None or not labels.size:
            return
        self.shape = self.shape or labels.shape
        if labels.dtype.kind in INTEGERS:
            low, high = int(labels.min()), int(labels.max())
            known = self._range or (low, high)
            self._range = min(known[0], low), max(known[1], high)

    def unfit(self, outputs: Sequence[_OutputMeasure]) -> InputError:
        """Return the error that says why."""
        hint = "--task values leaves labels aside; --metric measures in another way"
        beyond = [output for output in outputs if output.shaped and not output.ranged]
        if self._range is None:
            what, found = "labels that are no integers", []
        elif beyond:
            what = f"labels from {self._range[0]} to {self._range[1]}"
            found = [f"'{each.name}' has {(each.shape or ())[1]} classes" for each in beyond]
        else:
            what = f"labels of shape {_spell(self.shape)}"
            found = [f"'{each.name}' has shape {_spell(each.shape)}" for each in outputs]
        more = f" ({', '.join(found[:MOST_NAMED])})" if found else ""
        return InputError(f"{what} fit no output{more}", hint)


def _family(array: Array) -> str:
    kinds = (FLOATS, INTEGERS, STRINGS)
    return next((family for family in kinds if array.dtype.kind in family), "")


def _same_bits(dense: Array, pruned: Array) -> bool:
    if dense.dtype.kind in STRINGS:
        return bool(np.all(dense.astype(object) == pruned.astype(object)))
    return dense.dtype == pruned.dtype and dense.tobytes() == pruned.tobytes()


def _spell(shape: tuple[int, ...] | None) -> str:
    """Spell the shape of a batch of any size."""
    return f"({', '.join(['N', *map(str, (shape or ())[1:])])})"
