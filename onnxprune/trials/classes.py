"""Decisions on classes that two models make; which outputs make any is not decided here."""

from dataclasses import dataclass, field

import numpy as np

from onnxprune.outcomes import Accuracy
from onnxprune.types import Array

PIECE = 1 << 20
"""How many scores are worked on at a time."""
SUM_ERROR = 1e-3
"""How far from 1 the sum of probabilities may be: half precision comes no closer."""
SMALLEST = 1e-12
"""What a pruned model's probability of zero counts as, so that one does not decide all."""
BEST = 5


@dataclass(slots=True)
class RightAnswers:
    """A count of the answers that each of two models has right."""

    total: int = 0
    dense: int = 0
    pruned: int = 0
    lost: int = 0
    won: int = 0

    def update(self, dense: Array, pruned: Array) -> None:
        """Count whether each answer of both models is right."""
        self.total += dense.size
        self.dense += int(np.count_nonzero(dense))
        self.pruned += int(np.count_nonzero(pruned))
        self.lost += int(np.count_nonzero(dense & ~pruned))
        self.won += int(np.count_nonzero(pruned & ~dense))

    def accuracy(self) -> Accuracy:
        """Return what was counted."""
        return Accuracy(self.total, self.dense, self.pruned, self.lost, self.won)


@dataclass(slots=True)
class Decisions:
    """A count of the classes that two models agree on, and of the right ones."""

    answers: int = 0
    agreed: int = 0
    top1: RightAnswers = field(default_factory=RightAnswers)

    def update(self, dense: Array, pruned: Array, labels: Array | None) -> None:
        """Count one class of each model, and its label, per element."""
        same = np.asarray(dense == pruned, dtype=bool)
        self.answers += same.size
        self.agreed += int(np.count_nonzero(same))
        if labels is not None:
            self.top1.update(dense == labels, pruned == labels)


@dataclass(slots=True)
class ScoreMeasure:
    """What two models' scores of classes have in common.

    Args:
        decisions: the highest scores, the first of equal ones.
        top5: whether the label is among the five highest.
        probabilities: whether all scores of the dense model are probabilities.
    """

    decisions: Decisions = field(default_factory=Decisions)
    top5: RightAnswers = field(default_factory=RightAnswers)
    probabilities: bool = True
    _from_probabilities: float = 0.0
    _from_scores: float = 0.0
    _fewest: int = BEST + 1

    def update(self, dense: Array, pruned: Array, labels: Array | None) -> None:
        """Measure one batch of shape [samples, classes, positions ...]."""
        rows, others = _rows(dense), _rows(pruned)
        answers = labels.reshape(-1) if labels is not None else None
        self._fewest = min(self._fewest, rows.shape[1])
        step = max(1, PIECE // rows.shape[1])
        for start in range(0, len(rows), step):
            piece = slice(start, start + step)
            self._add(
                rows[piece].astype(np.float64),
                others[piece].astype(np.float64),
                answers[piece] if answers is not None else None,
            )

    def top5_accuracy(self) -> Accuracy | None:
        """Return the right answers by the five highest scores, if there are more than five."""
        return self.top5.accuracy() if self._fewest > BEST else None

    def divergence(self) -> float | None:
        """Return the mean Kullback-Leibler divergence over all decisions."""
        if not self.decisions.answers:
            return None
        total = self._from_probabilities if self.probabilities else self._from_scores
        return max(0.0, total / self.decisions.answers)

    def _add(self, dense: Array, pruned: Array, labels: Array | None) -> None:
        self.decisions.update(dense.argmax(axis=1), pruned.argmax(axis=1), labels)
        if labels is not None and self._fewest > BEST:
            self.top5.update(_among_best(dense, labels), _among_best(pruned, labels))
        # Whether the rows are probabilities is known at the end: until then, both are summed.
        self.probabilities = self.probabilities and _are_probabilities(dense)
        if self.probabilities:
            clipped = np.log(np.clip(pruned, SMALLEST, 1.0))
            with np.errstate(divide="ignore"):
                logarithms = np.log(dense)
            self._from_probabilities += _divergence(dense, logarithms, clipped)
        logarithms = _log_softmax(dense)
        self._from_scores += _divergence(np.exp(logarithms), logarithms, _log_softmax(pruned))


def labels_fit(labels: Array | None, shape: tuple[int, ...]) -> bool:
    """Return whether there is one label per element of a shape, but for dimensions of one."""
    if labels is None or labels.dtype.kind not in "biu" or labels.ndim == 0:
        return False
    wanted = [size for size in shape[1:] if size != 1]
    found = [size for size in labels.shape[1:] if size != 1]
    return len(labels) == shape[0] and found == wanted


def _rows(scores: Array) -> Array:
    """Arrange scores as one row of classes per decision."""
    return np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1])


def _among_best(scores: Array, labels: Array) -> Array:
    """Say of each label whether fewer than five classes rank before it, ties by number."""
    chosen = labels[:, None].astype(np.intp)
    own = np.take_along_axis(scores, chosen, axis=1)
    earlier = np.arange(scores.shape[1]) < chosen
    before = (scores > own) | ((scores == own) & earlier)
    return np.asarray(np.count_nonzero(before, axis=1) < BEST)


def _are_probabilities(rows: Array) -> bool:
    if not np.all(rows >= 0):
        return False
    return bool(np.all(np.abs(rows.sum(axis=1) - 1) <= SUM_ERROR))


def _log_softmax(rows: Array) -> Array:
    highest = rows.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        # Infinite scores that are the highest share everything; without them they get nothing.
        below = np.where(rows == highest, 0.0, rows - highest)
    return np.asarray(below - np.log(np.exp(below).sum(axis=1, keepdims=True)))


def _divergence(probabilities: Array, logarithms: Array, others: Array) -> float:
    """Return the sum of the divergences of all rows; what has no probability adds nothing."""
    with np.errstate(invalid="ignore"):
        terms = np.where(probabilities > 0, probabilities * (logarithms - others), 0.0)
    return float(terms.sum())
