"""Judges a model by samples that nothing was fitted on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onnxprune.errors import InputError, UsageError
from onnxprune.recover.matching import Matched, class_axis
from onnxprune.recover.pool import Pool
from onnxprune.recoveries import Standing
from onnxprune.statistics.feeding import Fed, cut_rows
from onnxprune.statistics.measurement import Module, failures_named


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """The dense model, whatever becomes of its module's own values.

    Args:
        module: computes it.
        tensors: its values.
    """

    module: Module
    tensors: Mapping[str, Tensor]

    def answer(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Return its outputs."""
        with torch.no_grad():
            return self.module.compute(feeds, self.tensors)


class Judge:
    """Compares a module's outputs with the dense model's, kept from the beginning.

    Args:
        module: the model.
        teacher: the dense one.
        pool: the samples.
        matched: the values that count.
        batch: samples at once.
        label_weight: what the loss on labels counts beside the distance to the dense model.
    """

    def __init__(  # noqa: PLR0913 - two models, samples, and what counts
        self,
        module: Module,
        teacher: Teacher,
        pool: Pool,
        matched: Matched,
        batch: int,
        label_weight: float,
    ) -> None:
        self._module = module
        self._teacher = teacher
        self._matched = matched
        self._label_weight = label_weight
        self._fed = list(pool.fed(pool.held, batch))
        self._answers: list[dict[str, Tensor]] = []
        self.count = sum(fed.count for fed in self._fed)

    @property
    def labelled(self) -> bool:
        """Whether labels take part."""
        return self._label_weight > 0

    def settle(self) -> Standing:
        """Compute what the dense model says; return how it stands itself."""
        outputs = []
        for fed in self._fed:
            with failures_named(fed.label):
                outputs.append(self._teacher.answer(fed.feeds))
        outputs = [cut_rows(each, fed) for each, fed in zip(outputs, self._fed, strict=True)]
        self._matched.settle(outputs)
        self._check_labels(outputs)
        self._answers = [
            {name: each[name] for name in self._matched.values} for each in outputs
        ]
        return self._sum_up(outputs)

    def stand(self, tensors: Mapping[str, Tensor]) -> Standing:
        """Return how the module does with these tensors."""
        return self._sum_up(self._outputs(fed, tensors) for fed in self._fed)

    def _sum_up(self, outputs: Iterable[Mapping[str, Tensor]]) -> Standing:
        """Compare outputs, batch by batch, with the dense model's."""
        loss, agreed, right, answers, labelled = 0.0, 0, 0, 0, 0
        for fed, wanted, found in zip(self._fed, self._answers, outputs, strict=True):
            loss += float(self.loss(found, wanted, fed)) * fed.count
            same, correct, decisions, known = self._decisions(found, wanted, fed)
            agreed, right = agreed + same, right + correct
            answers, labelled = answers + decisions, labelled + known
        return Standing(
            loss / self.count,
            agreed / answers if answers else None,
            right / labelled if labelled else None,
        )

    def loss(
        self, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], fed: Fed
    ) -> Tensor:
        """Return what training makes small: the distance, and what labels add to it."""
        distance = self._matched.distance(found, wanted, fed)
        if not self._label_weight or fed.answers is None:
            return distance
        scores = self._scores(found, fed)
        if scores is None:
            return distance
        labels = fed.answers.to(scores.device, torch.int64)
        own = torch.nn.functional.cross_entropy(scores.float(), labels)
        return distance + self._label_weight * own

    def _outputs(self, fed: Fed, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad(), failures_named(fed.label):
            return self._module.compute(fed.feeds, tensors)

    def _decisions(
        self, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], fed: Fed
    ) -> tuple[int, int, int, int]:
        """Count decisions that are the same, right ones, all of them, and those with labels."""
        same = decisions = right = known = 0
        wanted_rows, found_rows = cut_rows(wanted, fed), cut_rows(found, fed)
        for place, target in enumerate(self._matched.targets):
            dense, pruned = wanted_rows[str(target.value)], found_rows[str(target.value)]
            axis = class_axis(target, dense)
            if axis is None:
                continue
            choice = pruned.argmax(axis)
            same += int((choice == dense.argmax(axis)).sum())
            decisions += choice.numel()
            labels = fed.answers
            if place == 0 and labels is not None and choice.numel() == labels.numel():
                right += int((choice.flatten().cpu() == labels.flatten()).sum())
                known += labels.numel()
        return same, right, decisions, known

    def _scores(self, found: Mapping[str, Tensor], fed: Fed) -> Tensor | None:
        """Return the scores of classes that labels are about."""
        if not self._matched.targets or fed.answers is None or fed.answers.dim() != 1:
            return None
        target = self._matched.targets[0]
        scores = cut_rows(found, fed)[str(target.value)]
        if scores.dim() != 2 or class_axis(target, scores) != 1:
            return None
        return self._matched.seen(str(target.value), scores)

    def _check_labels(self, outputs: Sequence[Mapping[str, Tensor]]) -> None:
        """Refuse labels that are no classes, if they take part."""
        if not self._label_weight:
            return
        for fed, each in zip(self._fed, outputs, strict=True):
            scores = self._scores(each, fed)
            if scores is None or fed.answers is None:
                raise UsageError(
                    "labels take part where there is one for each row of scores",
                    "--label-weight 0 leaves them out",
                )
            low, high = int(fed.answers.min()), int(fed.answers.max())
            if low < 0 or high >= scores.shape[1]:
                raise InputError(
                    f"labels from {low} to {high}; the model has classes 0 to"
                    f" {scores.shape[1] - 1}",
                    "--label-weight 0 leaves them out",
                )
