"""A batch as torch takes it, and what of it belongs to each sample."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from onnxprune.reimport.values import to_value
from onnxprune.samples.batch import Batch


@dataclass(frozen=True, slots=True, eq=False)
class Fed:
    """Some samples for a module.

    Args:
        start: the number of the first sample.
        count: how many there are.
        rows: how many the module is fed: more than there are where the model fixes it.
        whole: whether the one sample is all that the model takes at once.
        feeds: by input.
        answers: what a loss wants to see, one row per sample, if it wants any.
    """

    start: int
    count: int
    rows: int
    whole: bool
    feeds: dict[str, Any]
    answers: Tensor | None = None

    @property
    def label(self) -> str:
        """Name the samples for a message."""
        if self.count == 1:
            return f"sample {self.start}"
        return f"samples {self.start} to {self.start + self.count - 1}"

    @property
    def separable(self) -> bool:
        """Whether all feeds are tensors, which can be gone through sample by sample."""
        return all(isinstance(feed, Tensor) for feed in self.feeds.values())

    def with_answers(self, answers: Tensor | None) -> "Fed":
        """Return the same samples with answers."""
        return replace(self, answers=answers)

    def alone(self, feeds: dict[str, Any], answers: Tensor | None) -> "Fed":
        """Return a single sample like these, whatever it is fed."""
        return Fed(self.start, 1, 1, self.whole, feeds, answers)

    def one(self, row: int) -> "Fed":
        """Return one of the samples."""
        answers = None if self.answers is None else self.answers[row : row + 1]
        return replace(
            self.alone(row_of(self.feeds, self, row), answers), start=self.start + row
        )

    def by_sample(self) -> tuple[dict[str, Tensor], dict[str, int | None]]:
        """Return the feeds with a dimension of samples in front, and which feeds have it.

        What is behind that dimension is a batch of one sample.
        """
        tensors: dict[str, Tensor] = {}
        places: dict[str, int | None] = {}
        for name, feed in self.feeds.items():
            places[name] = 0
            if self.rows == 1:
                tensors[name] = feed.unsqueeze(0)
            elif has_rows(feed, self):
                tensors[name] = feed[: self.count].unsqueeze(1)
            else:
                tensors[name], places[name] = feed, None
        return tensors, places


def feed_batch(batch: Batch, fixed: int | None, whole: bool, device: torch.device) -> Fed:
    """Make of a batch what a module takes.

    Args:
        batch: the batch.
        fixed: the batch size that the model fixes, if it does.
        whole: whether one sample is all that the model takes at once.
        device: where it is computed.
    """
    feeds = {name: to_value(array, device) for name, array in batch.feeds.items()}
    rows = 1 if whole else fixed or batch.count
    return Fed(batch.start, batch.count, rows, whole, feeds)


def has_rows(value: object, fed: Fed) -> bool:
    """Whether a value has one row for each of the samples."""
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == fed.rows


def cut_rows(values: Mapping[str, Any], fed: Fed) -> dict[str, Any]:
    """Leave out the rows that only fill up a batch of fixed size."""
    if fed.whole or fed.rows == fed.count:
        return dict(values)
    return {
        name: value[: fed.count] if has_rows(value, fed) else value
        for name, value in values.items()
    }


def row_of(values: Mapping[str, Any], fed: Fed, row: int) -> dict[str, Any]:
    """Return what belongs to one of the samples."""
    if fed.rows == 1:
        return dict(values)
    return {
        name: value[row : row + 1] if has_rows(value, fed) else value
        for name, value in values.items()
    }
